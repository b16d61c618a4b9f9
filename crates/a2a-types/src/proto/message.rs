//! Messages: one line a field, as the official proto has them.

/// Defines a message.
///
/// `name: Type => required("jsonName")` is a field that must be there and is always written,
/// `optional` one that has a default. A last line `..extra` keeps the fields of newer peers.
macro_rules! message {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$doc:meta])* $field:ident: $type:ty => $presence:ident($json:literal), )*
            $( ..$extra:ident )?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $( $(#[$doc])* $vis $field: $type, )*
            $(
                /// Fields of newer peers, written back as they came.
                $vis $extra: $crate::Metadata,
            )?
        }

        impl $name {
            /// The names of the fields in JSON.
            $vis const FIELDS: &'static [&'static str] = &[$($json),*];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct MessageVisitor;

                impl<'de> serde::de::Visitor<'de> for MessageVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("an object (", stringify!($name), ")"))
                    }

                    #[allow(unreachable_patterns, reason = "a name of one word is both its forms")]
                    fn visit_map<A>(self, mut map: A) -> Result<Self::Value, A::Error>
                    where
                        A: serde::de::MapAccess<'de>,
                    {
                        $( let mut $field = $crate::proto::Slot::EMPTY; )*
                        $( let mut $extra = $crate::Metadata::new(); )?
                        while let Some($crate::proto::Key(key)) = map.next_key()? {
                            match key.as_ref() {
                                $( $json | stringify!($field) => {
                                    $field.read(&mut map, $json)?;
                                } )*
                                _ => message!(@unknown map key $($extra)?),
                            }
                        }
                        Ok($name { $( $field: $field.$presence($json)?, )* $( $extra )? })
                    }
                }

                from.deserialize_map(MessageVisitor)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = to.serialize_map(None)?;
                $( $crate::proto::$presence(&mut map, $json, &self.$field)?; )*
                $( for (name, value) in &self.$extra {
                    map.serialize_entry(name, value)?;
                } )?
                map.end()
            }
        }

        $crate::proto::message!(@field $name);
    };
    (@unknown $map:ident $key:ident) => {{
        $map.next_value::<serde::de::IgnoredAny>()?;
    }};
    (@unknown $map:ident $key:ident $extra:ident) => {{
        $extra.insert($key.into_owned(), $map.next_value()?);
    }};
    (@field $name:ident) => {
        impl $crate::proto::Field for $name {
            fn read<'de, D>(from: D) -> Result<Option<Self>, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                serde::Deserialize::deserialize(from)
            }

            fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(self, to)
            }
        }
    };
}

pub(crate) use message;
