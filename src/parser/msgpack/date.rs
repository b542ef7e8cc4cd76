/// Milliseconds per day.
const DAY: i64 = 86_400_000;

/// The maximum distance of a JavaScript date from the Unix epoch, in milliseconds.
const FURTHEST: u64 = 8_640_000_000_000_000;

/// Formats milliseconds since the Unix epoch like JavaScript's `toISOString`. Returns `None` if they are out of range.
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

    /// As Node prints them.
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
