//! The caller's terminal and the signals that it and others send.

pub(crate) mod alternate_screen;
pub(crate) mod raw_mode;
pub(crate) mod signals;
pub(crate) mod streams;
pub(crate) mod window;
