//! (room cli)

pub mod check;
pub mod demo;
pub mod verifier;
