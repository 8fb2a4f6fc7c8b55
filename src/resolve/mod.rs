//! (room resolve)
