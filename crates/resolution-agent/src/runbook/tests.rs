//! What a runbook file must hold, and what the error says when it does not.

use super::*;

const GOOD: &str = "
id: restart-it
description: restarts it
causes: [app.stuck]
risk: low
steps:
  - name: Restart
    action: restart_service
    effect: idempotent
    irreversible: true
checks:
  symptom:
    name: stuck requests
    query: sum(rate(stuck_total{server=\"$target\"}[$window]))
    comparison: \"<\"
    threshold: 1
    hold_seconds: 2
    within_seconds: 20
";

/// The error for the good file with one text replaced.
fn error(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("r.yaml"), GOOD.replace(from, to)).unwrap();
    format!("{:#}", anyhow::Error::from(Runbooks::load(directory.path()).unwrap_err()))
}

#[test]
fn a_good_file_loads_and_is_found_by_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("r.yaml"), GOOD).unwrap();
    std::fs::write(directory.path().join("notes.txt"), "not a runbook").unwrap();
    let runbooks = Runbooks::load(directory.path()).unwrap();
    assert_eq!(runbooks.choose("app.stuck", &[]).unwrap().id, "restart-it");
    assert!(runbooks.choose("app.slow", &["restart-it".into()]).is_none(), "of another cause");
    let query = &runbooks.get("restart-it").unwrap().checks.symptom.query;
    let filled = query.fill("app-1", Duration::from_millis(2500));
    assert_eq!(filled, "sum(rate(stuck_total{server=\"app-1\"}[2500ms]))");
}

#[test]
fn a_step_with_neither_undo_nor_irreversible_does_not_load() {
    let error = error("    irreversible: true\n", "");
    for part in ["r.yaml:", "field `steps", "`undo: recorded` or `irreversible: true`"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_runbook_without_a_check_does_not_load() {
    let cut = GOOD.find("checks:").unwrap();
    let error = error(&GOOD[cut..], "");
    assert!(error.contains("r.yaml:") && error.contains("missing field `checks`"), "{error}");
    let error = self::error(&GOOD[cut..], "checks: {neighbours: []}\n");
    assert!(error.contains("missing field `symptom`"), "{error}");
}

#[test]
fn errors_name_file_line_and_field() {
    let cases = [
        ("risk: low", "risk: none", "r.yaml:5", "risk"),
        ("restart_service", "format_disk", "r.yaml:", "steps"),
        ("threshold: 1", "threshold: many", "r.yaml:16", "checks.symptom.threshold"),
        ("threshold: 1", "threshold: .nan", "r.yaml", "checks.symptom.threshold"),
        ("$target", "$targt", "r.yaml:13", "checks.symptom.query"),
        ("[$window]", "[$window:1s]", "r.yaml:13", "checks.symptom.query"),
        ("within_seconds: 20", "within_seconds: 2", "r.yaml", "checks.symptom.within_seconds"),
        ("id: restart-it", "id: Restart it", "r.yaml", "id"),
        ("[app.stuck]", "[]", "r.yaml", "causes"),
        ("irreversible: true", "irreversible: true\n    undo: recorded", "r.yaml:", "steps"),
        (
            "steps:",
            "steps:\n  - {name: Restart, action: cleanup, effect: fenced, irreversible: true}",
            "r.yaml",
            "steps",
        ),
        ("effect: idempotent", "effekt: idempotent", "r.yaml:", "effekt"),
    ];
    for (from, to, place, field) in cases {
        let error = error(from, to);
        assert!(error.contains(place) && error.contains(field), "{to}: {error}");
    }
}

#[test]
fn two_files_with_one_id_and_an_empty_directory_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Runbooks::load(directory.path()).is_err());
    for name in ["a.yaml", "b.yml"] {
        std::fs::write(directory.path().join(name), GOOD).unwrap();
    }
    let error = Runbooks::load(directory.path()).unwrap_err().to_string();
    assert!(error.contains("b.yml") && error.contains("restart-it"), "{error}");
}
