//! Security schemes and requirements of a card (specification section 4.5).

use std::collections::BTreeMap;

use crate::proto::{message, one_of};

one_of! {
    /// How callers prove who they are.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum SecurityScheme {
        ApiKeySecurityScheme(ApiKeySecurityScheme) => "apiKeySecurityScheme" | "api_key_security_scheme",
        HttpAuthSecurityScheme(HttpAuthSecurityScheme) => "httpAuthSecurityScheme" | "http_auth_security_scheme",
        Oauth2SecurityScheme(OAuth2SecurityScheme) => "oauth2SecurityScheme" | "oauth2_security_scheme",
        OpenIdConnectSecurityScheme(OpenIdConnectSecurityScheme) => "openIdConnectSecurityScheme" | "open_id_connect_security_scheme",
        MtlsSecurityScheme(MutualTlsSecurityScheme) => "mtlsSecurityScheme" | "mtls_security_scheme",
        ..Other
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct ApiKeySecurityScheme {
        description: String => optional("description"),
        /// `query`, `header` or `cookie`.
        location: String => required("location"),
        name: String => required("name"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct HttpAuthSecurityScheme {
        description: String => optional("description"),
        scheme: String => required("scheme"),
        bearer_format: String => optional("bearerFormat"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OAuth2SecurityScheme {
        description: String => optional("description"),
        flows: OAuthFlows => required("flows"),
        oauth2_metadata_url: String => optional("oauth2MetadataUrl"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct OpenIdConnectSecurityScheme {
        description: String => optional("description"),
        open_id_connect_url: String => required("openIdConnectUrl"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct MutualTlsSecurityScheme {
        description: String => optional("description"),
        ..extra
    }
}

one_of! {
    /// Exactly one flow is present.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum OAuthFlows {
        AuthorizationCode(AuthorizationCodeOAuthFlow) => "authorizationCode" | "authorization_code",
        ClientCredentials(ClientCredentialsOAuthFlow) => "clientCredentials" | "client_credentials",
        Implicit(ImplicitOAuthFlow) => "implicit" | "implicit",
        Password(PasswordOAuthFlow) => "password" | "password",
        DeviceCode(DeviceCodeOAuthFlow) => "deviceCode" | "device_code",
        ..Other
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct AuthorizationCodeOAuthFlow {
        authorization_url: String => required("authorizationUrl"),
        token_url: String => required("tokenUrl"),
        refresh_url: String => optional("refreshUrl"),
        scopes: BTreeMap<String, String> => required("scopes"),
        pkce_required: bool => optional("pkceRequired"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct ClientCredentialsOAuthFlow {
        token_url: String => required("tokenUrl"),
        refresh_url: String => optional("refreshUrl"),
        scopes: BTreeMap<String, String> => required("scopes"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct ImplicitOAuthFlow {
        authorization_url: String => optional("authorizationUrl"),
        refresh_url: String => optional("refreshUrl"),
        scopes: BTreeMap<String, String> => optional("scopes"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct PasswordOAuthFlow {
        token_url: String => optional("tokenUrl"),
        refresh_url: String => optional("refreshUrl"),
        scopes: BTreeMap<String, String> => optional("scopes"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct DeviceCodeOAuthFlow {
        device_authorization_url: String => required("deviceAuthorizationUrl"),
        token_url: String => required("tokenUrl"),
        refresh_url: String => optional("refreshUrl"),
        scopes: BTreeMap<String, String> => required("scopes"),
        ..extra
    }
}

message! {
    /// Schemes that together admit a caller, with the scopes each needs.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct SecurityRequirement {
        schemes: BTreeMap<String, StringList> => optional("schemes"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct StringList {
        list: Vec<String> => optional("list"),
    }
}
