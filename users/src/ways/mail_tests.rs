use super::*;

fn value(typed: &str) -> Result<String, &'static str> {
    read(typed).map(|mail| mail.value)
}

#[test]
fn addresses_have_one_spelling() {
    for (expected, spellings) in [
        (
            "anna@example.org",
            &[
                "anna@example.org",
                "Anna@Example.org",
                " anna@example.org ",
                "anna@example.org\r\n",
                "\u{A0}anna@example.org",
                "\u{200B}anna@example.org\u{200B}",
                "\u{FEFF}anna@example.org",
                "\u{202A}anna@example.org\u{202C}",
                "\u{2066}anna@example.org\u{2069}\u{200F}",
                "anna@example.org.",
                "anna@example\u{3002}org",
                "anna@example\u{FF0E}org",
                "anna@example\u{FF61}org\u{3002}",
                "anna@ｅｘａｍｐｌｅ．ｏｒｇ",
                "anna@ＥＸＡＭＰＬＥ.org",
                "ａｎｎａ@example.org",
                "ＡＮＮＡ＠ｅｘａｍｐｌｅ．ｏｒｇ",
                "anna\u{FE6B}example.org",
                "anna@ⓔxample.org",
                "anna@\u{1D41E}xample.org",
            ][..],
        ),
        (
            "x@xn--bcher-kva.example",
            &[
                "x@b\u{FC}cher.example",
                "x@xn--bcher-kva.example",
                "X@XN--BCHER-KVA.example",
                "x@bu\u{308}cher.example",
                "x@b\u{FC}cher\u{3002}example",
                "x@BÜCHER.EXAMPLE",
                "x@BU\u{308}CHER.example.",
            ],
        ),
        // Non-transitional: ß is a letter of its own, and joiners are where UTS 46 lets them be.
        ("x@xn--strae-oqa.example", &["x@straße.example", "x@xn--strae-oqa.example", "x@STRAẞE.example"]),
        ("x@strasse.example", &["x@strasse.example", "x@STRASSE.example"]),
        ("x@xn--mgba3gch31f060k.example", &["x@نامه\u{200C}ای.example", "x@xn--mgba3gch31f060k.example"]),
        ("x@xn--fiqs8s.xn--fiqs8s", &["x@中国.中国", "x@中国。中国"]),
        (
            "jos\u{E9}@example.org",
            &["jos\u{E9}@example.org", "jose\u{301}@example.org", "JOSE\u{301}@example.org"],
        ),
        ("a.b+c@example.co.uk", &[" a.b+c@example.co.uk ", "A.B+C@EXAMPLE.CO.UK"]),
        ("o'neil_1/2-x@mail.example.org", &["O'Neil_1/2-x@mail.example.org"]),
        ("!#$%&'*+-/=?^_`{|}~@example.org", &["!#$%&'*+-/=?^_`{|}~@example.org"]),
        ("a@1and1.example", &["a@1and1.example"]),
        ("a@3.example", &["a@3.example"]),
        ("用户@xn--fsqu00a.example", &["用户@例子.example"]),
    ] {
        for typed in spellings {
            assert_eq!(value(typed).as_deref(), Ok(expected), "{typed:?}");
        }
    }
}

#[test]
fn what_no_mail_goes_to_is_refused_with_what_to_do() {
    let long = format!("{}@example.org", "x".repeat(65));
    let longer = format!("a@{}.org", "x.".repeat(200));
    let label = format!("a@{}.org", "x".repeat(64));
    let (domain, dot) = ("domain that mail can go to", "without a dot");
    let (quoted, machine, none) = ("quoted", "by its number", "is no mail address");
    for (typed, said) in [
        ("", none),
        ("anna", none),
        ("@example.org", none),
        ("anna@", domain),
        ("a b@example.org", none),
        ("a@b@c.de", none),
        (".a@example.org", none),
        ("a.@example.org", none),
        ("a..b@example.org", none),
        ("a(note)@example.org", none),
        ("a@example.org (note)", domain),
        ("<a@example.org>", domain),
        ("Anna <a@example.org>", domain),
        ("a@example.org, b@example.org", none),
        ("a,b@example.org", none),
        ("\"a\"@example.org", quoted),
        ("\"a b\"@example.org", quoted),
        ("\"a@b\"@example.org", quoted),
        ("a@b", dot),
        ("a@localhost", dot),
        ("a@例子", dot),
        ("a@127.0.0.1", machine),
        ("a@１２７。０。０。１", machine),
        ("a@[127.0.0.1]", machine),
        ("a@[IPv6:::1]", machine),
        ("a@example.1", machine),
        ("a@exa_mple.org", domain),
        ("a@-example.org", domain),
        ("a@example-.org", domain),
        ("a@example..org", domain),
        ("a@.example.org", domain),
        ("a@exam ple.org", domain),
        ("a@example.org/x", domain),
        ("a@xn--zzzzzzzz99.example", domain),
        ("a@xn--.example", domain),
        ("a@\u{378}.example", domain),
        ("a@exa\u{200D}mple.org", domain),
        (&long, none),
        (&longer, domain),
        (&label, domain),
        (&"x@".repeat(5000), "too long"),
    ] {
        let refused = value(typed).expect_err(typed);
        assert!(refused.contains(said) && refused.starts_with("`email`"), "{typed:?}: {refused}");
    }
}

#[test]
fn invisible_characters_inside_are_refused() {
    for typed in [
        "a@b\r\nBcc: x@y.zz",
        "a\r\n@example.org",
        "a@example.org\r\nb",
        "a@ex\u{200B}ample.org",
        "a@exa\u{AD}mple.org",
        "a@exa\u{FE0F}mple.org",
        "a@exa\u{2060}mple.org",
        "a@exa\u{202E}mple.org",
        "a@exa\0mple.org",
        "an\u{200B}na@example.org",
        "an\u{200C}na@example.org",
        "an\u{200D}na@example.org",
        "an\u{AD}na@example.org",
        "an\u{FE0F}na@example.org",
        "an\u{E0101}na@example.org",
        "an\u{3164}na@example.org",
        "an\u{115F}na@example.org",
        "an\u{FFA0}na@example.org",
        "an\u{2800}na@example.org",
        "an\u{200E}na@example.org",
        "an\u{202E}na@example.org",
        "an\u{2066}na@example.org",
        "an\u{E0061}na@example.org",
        "an\u{7}na@example.org",
        "an\u{7F}na@example.org",
        "an\u{85}na@example.org",
    ] {
        let refused = value(typed).expect_err(typed);
        assert!(
            refused.contains("invisible") && refused.contains("type the address"),
            "{typed:?}: {refused}"
        );
    }
}

#[test]
fn spellings_of_0_1_0_are_looked_up_where_they_are_of_the_same_mailbox() {
    let former = |typed| read(typed).unwrap().former;
    assert!(former("Anna@Example.org").is_empty(), "the spelling is as it was");
    assert_eq!(former("X@B\u{FC}cher.example"), ["x@b\u{FC}cher.example"]);
    assert_eq!(former("x@xn--bcher-kva.example"), ["x@b\u{FC}cher.example"]);
    assert_eq!(former("x@bu\u{308}cher.example"), ["x@bu\u{308}cher.example", "x@b\u{FC}cher.example"]);
    assert_eq!(former("jose\u{301}@example.org"), ["jose\u{301}@example.org"]);
    assert!(former("ａnna@example.org").is_empty(), "the code goes to another mailbox than that one's did");
}
