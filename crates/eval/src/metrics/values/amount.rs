//! Numbers as people write them: with a currency, with marks between thousands, with zeros that say nothing.

use super::Habit;

/// Beside an amount these are its currency: names of ISO 4217 and what stands on bills.
const CURRENCIES: &[&str] = &[
    "usd", "us$", "eur", "euro", "euros", "gbp", "chf", "jpy", "cny", "rmb", "inr", "rs", "rs.", "myr", "rm", "sgd",
    "s$", "hkd", "hk$", "aud", "a$", "cad", "c$", "nzd", "sek", "nok", "dkk", "kr", "kr.", "pln", "zł", "czk", "kč",
    "huf", "ft", "brl", "r$", "mxn", "zar", "thb", "idr", "rp", "php", "krw", "try", "tl", "ils", "aed", "sar", "$",
    "€", "£", "¥", "₹", "₩", "₽", "₺", "₪", "฿", "₫", "₱", "¢",
];
const MINUS: [char; 2] = ['-', '−'];

/// The digits of a text in lower case that is an amount and nothing else, without the zeros that say nothing. A minus
/// may stand on either side, and brackets mean one too, as in accounts. Digits that begin with a zero name something,
/// as a number of an invoice does, and are no amount.
pub fn amount(text: &str, habit: Habit) -> Option<String> {
    let in_brackets = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let mut is_negative = in_brackets.is_some();
    let mut rest = in_brackets.unwrap_or(text).trim();
    // The minus stands on either side of the currency.
    for _ in 0..2 {
        let bare = rest.trim_start_matches(MINUS).trim_end_matches(MINUS).trim();
        is_negative |= bare.len() < rest.len();
        rest = without_currency(bare);
    }
    let (whole, fraction) = parts(rest, habit)?;
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let is_zero = whole == "0" && fraction.is_empty();
    let sign = if is_negative && !is_zero { "-" } else { "" };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

fn without_currency(text: &str) -> &str {
    let has_digit_beside = |rest: &str, beside: Option<char>| {
        !rest.is_empty() && beside.is_some_and(|c| c.is_ascii_digit() || c.is_whitespace() || MINUS.contains(&c))
    };
    for currency in CURRENCIES {
        if let Some(rest) = text.strip_prefix(currency)
            && has_digit_beside(rest, rest.chars().next())
        {
            return rest.trim();
        }
        if let Some(rest) = text.strip_suffix(currency)
            && has_digit_beside(rest, rest.chars().next_back())
        {
            return rest.trim();
        }
    }
    text
}

/// The digits before and after the decimal mark; none where it is no number. Of two different marks the last is the
/// decimal one, a mark that comes again stands between thousands, and one alone before three digits is what the habit
/// makes of it.
fn parts(text: &str, habit: Habit) -> Option<(String, &str)> {
    let marks: Vec<(usize, char)> = text.char_indices().filter(|(_, c)| !c.is_ascii_digit()).collect();
    let own = if habit == Habit::DayFirstPoint { '.' } else { ',' };
    let decimal = match *marks {
        [] => None,
        [(at, mark)] => (".,".contains(mark) && (mark == own || text.len() - at != 4)).then_some(at),
        [.., (_, before), (at, last)] => (last != before && ".,".contains(last)).then_some(at),
    };
    let (whole, fraction) = decimal.map_or((text, ""), |at| (&text[..at], &text[at + 1..]));
    let mut groups = whole.split(|c: char| !c.is_ascii_digit());
    let first = groups.next().filter(|first| !first.is_empty())?;
    let separators: Vec<char> = whole.chars().filter(|c| !c.is_ascii_digit()).collect();
    let is_separated = separators.iter().all(|&c| c == separators[0] && ".,'’ ".contains(c));
    let rest: Vec<&str> = groups.collect();
    let is_grouped = rest.is_empty() || (first.len() <= 3 && rest.iter().all(|group| group.len() == 3));
    (is_separated && is_grouped && fraction.chars().all(|c| c.is_ascii_digit()))
        .then(|| (first.to_owned() + &rest.concat(), fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(amount(text, Habit::DayFirstPoint).as_deref(), expected, "{text}");
    }

    #[test]
    fn many_writings_are_one_amount() {
        for text in ["1234.5", "1,234.50", "1.234,50", "1 234,5", "1'234.50", "$1,234.50", "rm 1234.50", "1234.5 eur"] {
            check(text, Some("1234.5"));
        }
        for text in ["-5", "−5.00", "5-", "(5)", "($5.00)", "-$5", "$-5", "$ -5.0", "5 kr-"] {
            check(text, Some("-5"));
        }
        check("0.00", Some("0"));
        check("-0.0", Some("0"));
        check("0.50", Some("0.5"));
        check("1,234,567", Some("1234567"));
        check("9.", Some("9"));
    }

    #[test]
    fn one_mark_before_three_digits_is_what_the_habit_makes_of_it() {
        check("1.234", Some("1.234"));
        check("1,234", Some("1234"));
        assert_eq!(amount("1.234", Habit::MonthFirstComma).as_deref(), Some("1234"));
        assert_eq!(amount("1,234", Habit::MonthFirstComma).as_deref(), Some("1.234"));
        assert_eq!(amount("1,5", Habit::DayFirstPoint).as_deref(), Some("1.5"));
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in ["", "-", "$", "0012", "12.3.4", "12 34", "1,23,456", "5%", "12a", "room 12", "1.2,3.4", "(", "usd"]
        {
            check(text, None);
        }
    }
}
