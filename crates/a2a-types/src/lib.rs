//! a2a-types.
