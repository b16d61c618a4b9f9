//! The official proto, from where cargo keeps it: the source of the crate `a2a-pb`.

use std::path::{Path, PathBuf};
use std::process::Command;

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Value};

/// `google.api.FieldBehavior.REQUIRED`.
const REQUIRED: i32 = 2;

/// The descriptors of the proto and of all it imports.
pub(crate) fn descriptors() -> DescriptorPool {
    let mut compiler = protox::Compiler::new([proto_directory()]).unwrap();
    compiler.include_imports(true).open_file("a2a.proto").unwrap();
    compiler.descriptor_pool()
}

fn proto_directory() -> PathBuf {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let a2a_pb = packages.iter().find(|package| package["name"] == "a2a-pb");
    let manifest = a2a_pb.expect("a2a-pb is a dev-dependency")["manifest_path"].as_str().unwrap();
    Path::new(manifest).parent().unwrap().join("proto")
}

/// The proto marks the field `[(google.api.field_behavior) = REQUIRED]`.
pub(crate) fn is_required(field: &FieldDescriptor) -> bool {
    let pool = field.parent_pool();
    let behavior = pool.get_extension_by_name("google.api.field_behavior").unwrap();
    let options = field.options();
    let behaviors = options.get_extension(&behavior);
    behaviors.as_list().unwrap().contains(&Value::EnumNumber(REQUIRED))
}
