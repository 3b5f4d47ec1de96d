//! The checks beside the published ones; `tools/reference/ifeval_checks.py` wrote what those say of these answers.

use super::*;

#[derive(Deserialize)]
struct Case {
    instruction: Value,
    answer: String,
    strict: bool,
    loose: bool,
}

#[test]
fn every_check_says_what_the_published_one_says() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures.json")).unwrap();
    let mut said = std::collections::BTreeMap::<&str, [bool; 2]>::new();
    for case in &cases {
        let instruction = Instruction::read(&case.instruction).unwrap();
        let is_followed = instruction.is_followed(&case.answer);
        assert_eq!(is_followed, case.strict, "strict: {} {:?}", case.instruction, case.answer);
        assert_eq!(
            is_followed_loosely(&instruction, &case.answer),
            case.loose,
            "loose: {} {:?}",
            case.instruction,
            case.answer
        );
        said.entry(case.instruction[ID].as_str().unwrap()).or_default()[usize::from(is_followed)] = true;
    }
    assert_eq!(said.len(), 25, "every instruction: {said:?}");
    assert!(said.values().all(|both| *both == [true, true]), "each is followed once and once not: {said:?}");
}

#[test]
fn an_instruction_that_lacks_a_setting_is_named() {
    let error = |instruction: Value| Instruction::read(&instruction).err().unwrap();
    assert_eq!(error(json!({"instruction": "a:b"})), "there is no instruction \"a:b\"");
    assert_eq!(
        error(json!({"instruction": "length_constraints:number_words", "relation": "at least"})),
        "length_constraints:number_words: expected `num_words`, a whole number, got null"
    );
    assert_eq!(
        error(json!({"instruction": "keywords:frequency", "keyword": "a", "relation": "more", "frequency": 2})),
        "keywords:frequency: expected `relation`, \"less than\" or \"at least\", got \"more\""
    );
}
