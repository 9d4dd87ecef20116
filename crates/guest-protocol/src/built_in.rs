//! What a built-in's exit code says; the last line of its stderr says more.

/// It is done.
pub const SUCCESS: u8 = 0;
/// Something failed.
pub const FAILED: u8 = 1;
/// The thing that was named does not exist.
pub const NOT_FOUND: u8 = 2;
/// The request makes no sense for what is there.
pub const REFUSED: u8 = 3;
