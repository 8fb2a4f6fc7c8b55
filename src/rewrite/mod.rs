//! (room rewrite)
