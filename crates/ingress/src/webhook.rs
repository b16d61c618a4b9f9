//! Bodies of the sources that call ingress, read into the one alert type.

pub(crate) mod alertmanager;
