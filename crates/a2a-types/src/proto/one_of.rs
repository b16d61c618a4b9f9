//! Objects that hold exactly one of several members.

/// Defines an object of which one member is there: `Variant(Type) => "jsonName" | "proto_name"`.
/// A last line `..Other` keeps a member that only newer peers know.
macro_rules! one_of {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$doc:meta])* $variant:ident($type:ty) => $json:literal | $snake:literal, )*
            $( ..$other:ident )?
        }
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $( $(#[$doc])* $variant($type), )*
            $(
                /// What a newer peer sent, as it came.
                $other($crate::Metadata),
            )?
        }

        impl $name {
            /// The names of the members in JSON.
            $vis const FIELDS: &'static [&'static str] = &[$($json),*];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Members;

                impl<'de> serde::de::Visitor<'de> for Members {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("an object (", stringify!($name), ")"))
                    }

                    #[allow(unreachable_patterns, reason = "a name of one word is both its forms")]
                    fn visit_map<A>(self, mut map: A) -> Result<Self::Value, A::Error>
                    where
                        A: serde::de::MapAccess<'de>,
                    {
                        use serde::de::Error;
                        let mut found = None;
                        let mut others = $crate::Metadata::new();
                        while let Some($crate::proto::Key(key)) = map.next_key()? {
                            let member = match key.as_ref() {
                                $( $json | $snake => map
                                    .next_value_seed($crate::proto::Reader(std::marker::PhantomData))?
                                    .map($name::$variant), )*
                                _ => {
                                    others.insert(key.into_owned(), map.next_value()?);
                                    None
                                }
                            };
                            if member.is_some() && found.is_some() {
                                let why = format!("more than one of {}", $name::FIELDS.join(", "));
                                return Err(A::Error::custom(why));
                            }
                            found = found.or(member);
                        }
                        $( if found.is_none() && !others.is_empty() {
                            found = Some($name::$other(others));
                        } )?
                        found.ok_or_else(|| {
                            let why = format!("none of {} is there", $name::FIELDS.join(", "));
                            A::Error::custom(why)
                        })
                    }
                }

                from.deserialize_map(Members)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                match self {
                    $( Self::$variant(member) => {
                        let mut map = to.serialize_map(Some(1))?;
                        map.serialize_entry($json, member)?;
                        map.end()
                    } )*
                    $( Self::$other(members) => members.serialize(to), )?
                }
            }
        }

        $crate::proto::message!(@field $name);
    };
}

pub(crate) use one_of;
