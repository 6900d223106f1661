use std::path::{Path, PathBuf};

use super::{About, Sources, build::dependencies};
use crate::rivals;

#[test]
fn the_compilers_list_of_files_is_read() {
    let rule = "a/b.o: src/b.cpp \\\n  /usr/include/x.h with\\ blank.h \\\n c.hpp\n";
    let expected = ["src/b.cpp", "/usr/include/x.h", "with blank.h", "c.hpp"].map(PathBuf::from);
    assert_eq!(dependencies(rule), expected);
}

#[test]
fn folders_are_named_or_found_by_their_usual_names() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = Sources::new(&[format!("enkits={}/src", here.display())], None).unwrap();
    assert!(sources.folder("enkits").unwrap().ends_with("src"));
    assert!(sources.folder("marl").is_none());
    // No project has its folder here.
    assert!(Sources::new(&[], Some(here)).unwrap().folder("enkits").is_none());
    for wrong in ["enkits", "onetbb=src", "enkits=no/such/folder"] {
        let error = Sources::new(&[wrong.into()], None).unwrap_err();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn a_program_must_know_what_its_rivals_list_names() {
    let rival = rivals::find("onetbb").unwrap();
    let names = || rival.cells.iter().map(|(workload, _)| workload.name.to_string());
    let about = |workloads| About { version: String::new(), workloads };
    assert!(about(names().collect()).compare(rival).is_ok());
    assert!(about(names().skip(1).collect()).compare(rival).is_err());
    assert!(about(names().chain(["more".into()]).collect()).compare(rival).is_err());
}

#[test]
fn every_program_belongs_to_a_rival() {
    for native in rivals::NATIVE {
        assert!(rivals::find(native.name).is_some_and(|rival| rival.package.is_none()), "{}", native.name);
    }
}
