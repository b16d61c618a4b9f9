//! fault-simulator.
