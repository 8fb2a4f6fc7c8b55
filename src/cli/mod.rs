//! (room cli)

pub mod demo;
