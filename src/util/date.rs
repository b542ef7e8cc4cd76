//! Dates as JavaScript writes them.

/// Milliseconds per day.
const DAY: i64 = 86_400_000;

/// The maximum distance of a JavaScript date from the Unix epoch, in milliseconds.
const FURTHEST: u64 = 8_640_000_000_000_000;

/// Formats milliseconds since the Unix epoch like JavaScript's `toISOString`. Returns `None` if they are out of range.
#[cfg(any(feature = "admin-ui", feature = "msgpack"))]
pub(crate) fn iso_string(millis: i64) -> Option<String> {
    if millis.unsigned_abs() > FURTHEST {
        return None;
    }
    let (year, month, day) = civil(millis.div_euclid(DAY));
    let rest = millis.rem_euclid(DAY);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

/// Formats milliseconds since the Unix epoch like JavaScript's `Date`, in UTC.
pub(crate) fn date_string(millis: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let millis = i64::try_from(millis.min(FURTHEST)).unwrap_or(0);
    let days = millis / DAY;
    let (year, month, day) = civil(days);
    let name =
        |names: &[&'static str], index: i64| usize::try_from(index).ok().and_then(|index| names.get(index).copied());
    let weekday = name(&WEEKDAYS, days % 7).unwrap_or_default();
    let month = name(&MONTHS, month - 1).unwrap_or_default();
    let (hour, minute, second) = (millis / 3_600_000 % 24, millis / 60_000 % 60, millis / 1000 % 60);
    format!(
        "{weekday} {month} {day:02} {year:04} {hour:02}:{minute:02}:{second:02} GMT+0000 (Coordinated Universal Time)"
    )
}

/// Converts days since the Unix epoch to year, month and day of the Gregorian calendar. Computes with years that begin in March,
/// in eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_in_the_long_form_of_javascript() {
        for (millis, text) in [
            (0, "Thu Jan 01 1970 00:00:00"),
            (1_795_824_968_000, "Sat Nov 28 2026 00:16:08"),
            (951_782_400_999, "Tue Feb 29 2000 00:00:00"),
        ] {
            assert_eq!(date_string(millis), format!("{text} GMT+0000 (Coordinated Universal Time)"));
        }
    }

    /// As Node prints them.
    #[cfg(feature = "msgpack")]
    #[test]
    fn dates_are_written_as_javascript_does() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_709_210_096_789, "2024-02-29T12:34:56.789Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
            (-8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z"),
        ] {
            assert_eq!(iso_string(millis).as_deref(), Some(text));
        }
        assert_eq!(iso_string(8_640_000_000_000_001), None);
        assert_eq!(iso_string(i64::MIN), None);
    }
}
