//! Enum values: names, or numbers on input.

/// Defines an enum with the names and numbers of the official proto. `Other` keeps a value of a
/// newer peer: its name, or its number in decimal, written back as a number.
macro_rules! enumeration {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$doc:meta])* $variant:ident = $number:literal $text:literal, )*
        }
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $( $(#[$doc])* $variant, )*
            Other(String),
        }

        impl $name {
            /// The names and numbers that are known.
            $vis const VALUES: &'static [(&'static str, i32)] = &[$(($text, $number)),*];

            /// The name; for a value of a newer peer that came as a number, the number.
            $vis fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $text, )*
                    Self::Other(text) => text,
                }
            }

            fn from_number(number: i32) -> Self {
                match number {
                    $( $number => Self::$variant, )*
                    _ => Self::Other(number.to_string()),
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $( $text => Self::$variant, )*
                    _ => match text.parse() {
                        Ok(number) => Self::from_number(number),
                        Err(_) => Self::Other(text.to_owned()),
                    },
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Name;

                impl serde::de::Visitor<'_> for Name {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a name or number of ", stringify!($name)))
                    }

                    fn visit_str<E>(self, text: &str) -> Result<$name, E> {
                        Ok(text.into())
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$name, E> {
                        $crate::proto::whole(number).map($name::from_number)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$name, E> {
                        $crate::proto::whole(number).map($name::from_number)
                    }
                }

                from.deserialize_any(Name)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                match self {
                    Self::Other(text) => match text.parse() {
                        Ok(number) => to.serialize_i32(number),
                        Err(_) => to.serialize_str(text),
                    },
                    known => to.serialize_str(known.as_str()),
                }
            }
        }

        $crate::proto::message!(@field $name);
    };
}

pub(crate) use enumeration;
