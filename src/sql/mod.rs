//! (room sql)
