//! Why an operation was refused, in the words that callers know.

use std::fmt;

/// The closed set of expected failures.
///
/// Callers (admin APIs above all) turn the text into HTTP codes, so it never varies; what an operator needs to know
/// beyond it goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A group cannot be made without a name.
    GroupNameRequired,
    /// There is no group of that id.
    GroupNotFound,
    /// The group id is taken.
    Conflict,
    /// An argument is of the wrong type, empty, too long, not UTF-8, or cannot be part of an address.
    BadRequest,
    /// A chat was asked for, but no chat host is configured.
    ServiceUnavailable,
    /// Storage or the chat host failed, or the caller could not wait for its turn.
    Internal,
}

impl Error {
    /// The text handed to Lua callers as the second return value.
    pub fn as_str(self) -> &'static str {
        match self {
            Error::GroupNameRequired => "group-name-required",
            Error::GroupNotFound => "group-not-found",
            Error::Conflict => "conflict",
            Error::BadRequest => "bad-request",
            Error::ServiceUnavailable => "service-unavailable",
            Error::Internal => "internal-server-error",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Error {}
