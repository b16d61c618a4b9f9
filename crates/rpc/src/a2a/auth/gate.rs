//! The one place every request but that for the public card passes before its body is read.

use std::net::IpAddr;

use a2a_types::A2aError;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{AuthError, Authentication};
use crate::Host;
use crate::a2a::Caller;
use crate::a2a::limits::{Exceeded, Limits, LimitsConfig, Permit};

/// Admits callers that are known and within their limits.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    authentication: Authentication,
    limits: Limits,
    host: Host,
}

/// A request that was not admitted: the error, and the header that goes with it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: A2aError,
    pub(crate) header: (HeaderName, HeaderValue),
}

impl Gate {
    pub(crate) fn new(authentication: Authentication, limits: LimitsConfig, host: Host) -> Self {
        Self { authentication, limits: Limits::new(limits), host }
    }

    /// The caller of a request, and what counts it until its answer is there; a stream counts by
    /// a permit of its own.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<(Caller, Permit), Refused> {
        let now = self.host.now();
        match self.authentication.authenticate(headers, now) {
            Ok(caller) => {
                let permit = self.limits.admit(&caller, peer, now)?;
                Ok((caller, permit))
            }
            Err(error) => {
                self.limits.refuse(peer, now)?;
                // What is over the limit is not logged, so a flood of guesses is none in the log.
                let peer = peer.map(tracing::field::display);
                tracing::warn!(client.address = peer, %error, "request refused");
                Err(error.into())
            }
        }
    }
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Self {
        let challenge = HeaderValue::from_static(error.challenge());
        Self {
            error: A2aError::Unauthenticated(error.to_string()),
            header: (header::WWW_AUTHENTICATE, challenge),
        }
    }
}

impl From<Exceeded> for Refused {
    fn from(exceeded: Exceeded) -> Self {
        Self {
            error: A2aError::ResourceExhausted(exceeded.to_string()),
            header: (header::RETRY_AFTER, exceeded.retry_seconds.into()),
        }
    }
}
