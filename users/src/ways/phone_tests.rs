use super::*;

fn value(typed: &str) -> Result<String, &'static str> {
    read(typed).map(|phone| phone.value)
}

#[test]
fn numbers_have_one_spelling_however_they_are_written() {
    // Typed, and what is between the groups of digits: `_` stands for it.
    let between = [
        " ", "-", ".", "/", "", "  ", " - ", "\u{A0}", "\u{202F}", "\u{2007}", "\u{2009}", "\u{3000}", "\t",
        "\u{2010}", "\u{2011}", "\u{2012}", "\u{2013}", "\u{2014}", "\u{2015}", "\u{2212}", "\u{FF0D}",
        "\u{FE63}", "\u{200B}", "\u{200E}", "\u{200F}", "\u{202A}", "\u{202C}", "\u{2066}", "\u{2069}",
        "\u{2060}", "\u{AD}", "\u{FEFF}", ") ", " (",
    ];
    for gap in between {
        for (typed, expected) in [
            ("+44_20_7946_0018", "+442079460018"),
            ("+44_(0)20_7946_0018", "+442079460018"),
            ("+49_170_1234567", "+491701234567"),
            ("+1_202_555_0123", "+12025550123"),
        ] {
            let typed = typed.replace('_', gap);
            assert_eq!(value(&typed).as_deref(), Ok(expected), "{typed:?}");
        }
    }
}

#[test]
fn digits_of_every_keyboard_are_digits() {
    for zero in ['\u{660}', '\u{6F0}', '\u{966}', '\u{9E6}', '\u{E50}', '\u{1040}', '\u{FF10}'] {
        let script =
            |c: char| c.to_digit(10).and_then(|value| char::from_u32(zero as u32 + value)).unwrap_or(c);
        let typed: String = "+44 (0)20 7946 0018".chars().map(script).collect();
        assert_eq!(value(&typed).as_deref(), Ok("+442079460018"), "{typed:?}");
    }
    assert_eq!(
        value("\u{FF0B}\u{FF14}\u{FF14}\u{FF08}0\u{FF09}20 7946 0018").as_deref(),
        Ok("+442079460018")
    );
    assert_eq!(
        value("\u{202A}+44 20 7946 0018\u{202C}").as_deref(),
        Ok("+442079460018"),
        "as contacts copy it"
    );
}

#[test]
fn the_zero_of_a_country_goes_where_the_plan_says_so() {
    for (typed, expected) in [
        ("+44 020 7946 0018", "+442079460018"),
        ("+44 (0) 7700 900123", "+447700900123"),
        ("+49 (0)170 1234567", "+491701234567"),
        ("+49 (0) 30 123456", "+4930123456"),
        ("+43 (0)1 5321234", "+4315321234"),
        ("+41 (0)78 123 45 67", "+41781234567"),
        ("+33 (0)6 12 34 56 78", "+33612345678"),
        ("+31 (0)6 12345678", "+31612345678"),
        ("+61 (0)412 345 678", "+61412345678"),
        ("+81 (0)90-1234-5678", "+819012345678"),
        ("+36 (06) 20 123 4567", "+36201234567"),
        ("+7 8 912 345-67-89", "+79123456789"),
        ("+1 1 202 555 0123", "+12025550123"),
        // Italy's zero is part of the number, and a zero-less country has none to lose.
        ("+39 06 698 12345", "+390669812345"),
        ("+39 312 345 6789", "+393123456789"),
        ("+34 612 34 56 78", "+34612345678"),
        ("+45 32 12 34 56", "+4532123456"),
        // Numbers that no plan lists yet are judged by their length.
        ("+49 15550 000001", "+4915550000001"),
        ("+1 555 555 0123", "+15555550123"),
    ] {
        assert_eq!(value(typed).as_deref(), Ok(expected), "{typed:?}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for bad in [
        "",
        "+",
        "0170123456",
        "0044 20 7946 0018",
        "00442079460018",
        "442079460018",
        "+0170123456",
        "+123456",
        "+1234567890123456",
        "+49170x234567",
        "+44 20 7946 0018 ext. 5",
        "+44 20 7946 0018;ext=5",
        "++491701234567",
        "+49+1701234567",
        "+44 20 7946",
        "+44 20 7946 0018 0018",
        "+1 202 555 012",
        "+999 1234567",
        "+49 \u{0967}x",
        "1800FLOWERS",
        "tel:",
        "+49①701234567",
    ] {
        assert!(value(bad).is_err(), "{bad:?} is {:?}", value(bad));
    }
    assert!(value(&format!("+44 20 7946 0018{}", " ".repeat(5000))).is_err(), "too long to be read");
}

#[test]
fn a_number_of_every_plan_is_its_own_spelling() {
    let mut seen = 0;
    for plan in DATABASE.iter() {
        let all = plan.descriptors();
        for kind in [all.mobile(), all.fixed_line(), all.voip(), all.personal_number()].into_iter().flatten()
        {
            let Some(example) = kind.example() else { continue };
            let number = format!("+{}{example}", plan.country_code());
            // Some islands have numbers of four digits.
            if number.len() > *DIGITS.start() {
                assert_eq!(value(&number).as_deref(), Ok(&*number), "{}", plan.id());
                seen += 1;
            }
        }
    }
    assert!(seen > 400, "{seen}");
}

#[test]
fn spellings_of_0_1_0_are_looked_up_and_are_of_the_same_number() {
    let former = |typed| read(typed).unwrap().former;
    assert_eq!(former("+44 (0)20 7946 0018"), ["+4402079460018"]);
    assert_eq!(former("+44 20 7946 0018"), ["+4402079460018"]);
    assert!(former("+39 06 698 12345").is_empty(), "its zero is part of the number");
    for typed in ["+44 (0)20 7946 0018", "+49 (0)170 1234567", "+7 8 912 345-67-89", "+1 1 202 555 0123"] {
        let phone = read(typed).unwrap();
        for former in &phone.former {
            assert_eq!(value(former), Ok(phone.value.clone()));
        }
    }
}
