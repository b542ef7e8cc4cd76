use std::time::SystemTime;

use crate::util::iso_string;

/// Returns the milliseconds since the Unix epoch.
pub(super) fn millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the current time as events tell it.
pub(super) fn timestamp() -> String {
    i64::try_from(millis()).ok().and_then(iso_string).unwrap_or_default()
}
