//! A diagnosis as text for people.

use std::fmt::Write;

use incident::Diagnosis;

pub(crate) fn text(diagnosis: &Diagnosis) -> String {
    let mut text = format!("{}\n", diagnosis.summary);
    // Writing to a string cannot fail.
    let _ = write_details(diagnosis, &mut text);
    text
}

fn write_details(diagnosis: &Diagnosis, text: &mut String) -> std::fmt::Result {
    if let (Some(cause), Some(target)) = (&diagnosis.cause, &diagnosis.target) {
        let sure = diagnosis.confidence.value();
        let cases = diagnosis.cases;
        writeln!(
            text,
            "Cause: {cause} on {target}, confidence {sure:.2} ({cases} verified cases)"
        )?;
        if !diagnosis.runbooks.is_empty() {
            writeln!(text, "Recommended: {}", diagnosis.runbooks.join(", "))?;
        }
    }
    for evidence in &diagnosis.evidence {
        writeln!(text, "- {} [{}: {}]", evidence.summary, evidence.tool, evidence.query)?;
    }
    for missing in &diagnosis.missing {
        writeln!(
            text,
            "- missing {}: {} [{}: {}]",
            missing.name, missing.why, missing.tool, missing.query
        )?;
    }
    for other in &diagnosis.alternatives {
        writeln!(text, "- not {}: {}", other.cause, other.why_not)?;
    }
    Ok(())
}
