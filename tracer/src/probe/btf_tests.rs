//! Tests on a handmade piece of BTF, on damaged ones, and on the running kernel's.

use super::*;

/// Builds BTF: strings are added as they are used.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Builder {
    fn string(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn header(&mut self, name: &str, kind: u32, flag: bool, entries: u32, size_or_type: u32) {
        let name = self.string(name);
        self.words(&[name, u32::from(flag) << 31 | kind << 24 | entries, size_or_type]);
    }

    fn entry(&mut self, name: &str, first: u32, second: u32) {
        let name = self.string(name);
        self.words(&[name, first, second]);
    }

    fn build(self) -> Vec<u8> {
        let mut blob = MAGIC.to_ne_bytes().to_vec();
        blob.extend([1, 0]);
        for word in [24, 0, self.types.len() as u32, self.types.len() as u32, self.strings.len() as u32] {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend(self.types);
        blob.extend(self.strings);
        blob
    }
}

/// struct outer { u32 first; union { u64 pair; struct { u16 half[2]; } ; }; u32 flag:3; struct outer *next; }
fn sample() -> Vec<u8> {
    let mut b = Builder::default();
    b.header("u32", INT, false, 0, 4);
    b.words(&[32]); // 1
    b.header("u16", INT, false, 0, 2);
    b.words(&[16]); // 2
    b.header("u64", INT, false, 0, 8);
    b.words(&[64]); // 3
    b.header("", ARRAY, false, 0, 0);
    b.words(&[2, 1, 2]); // 4: u16[2]
    b.header("", STRUCT, false, 1, 4);
    b.entry("half", 4, 0); // 5
    b.header("", UNION, false, 2, 8);
    b.entry("pair", 8, 0);
    b.entry("", 5, 0); // 6
    b.header("", POINTER, false, 0, 9); // 7
    b.header("pair_t", TYPEDEF, false, 0, 3); // 8
    b.header("outer", STRUCT, true, 4, 32); // 9
    b.entry("first", 1, 0);
    b.entry("", 6, 64);
    b.entry("flag", 1, 3 << 24 | 128);
    b.entry("next", 7, 192);
    b.header("reason", ENUM, false, 2, 4); // 10
    for (name, value) in [("NONE", 0), ("ABORT", 11)] {
        let name = b.string(name);
        b.words(&[name, value]);
    }
    b.header("minus", ENUM, true, 1, 4); // 11
    let name = b.string("LESS");
    b.words(&[name, u32::MAX]);
    b.header("btf_trace_x", TYPEDEF, false, 0, 7); // 12
    b.header("fn_x", FUNC, false, 0, 0); // 13
    b.header("", FUNC_PROTO, false, 3, 0); // 14
    for parameter in [7, 9, 1] {
        b.words(&[0, parameter]);
    }
    b.header("", POINTER, false, 0, 14); // 15
    b.header("btf_trace_y", TYPEDEF, false, 0, 15); // 16
    b.header("wide", ENUM64, false, 1, 8); // 17
    let name = b.string("FAR");
    b.words(&[name, 1, 2]);
    b.build()
}

#[test]
fn members_are_found_through_anonymous_ones_and_typedefs() {
    let btf = Btf::parse(sample()).unwrap();
    let member = |path| btf.member(path).map(|member| (member.offset, member.size));
    assert_eq!(member("outer.first"), Some((0, 4)));
    assert_eq!(member("outer.pair"), Some((8, 8)));
    assert_eq!(member("outer.half"), Some((8, 4)));
    assert_eq!(member("outer.next"), Some((24, 8)));
    assert_eq!(member("outer.flag"), None, "a bit field has no place in bytes");
    assert_eq!(member("outer.absent"), None);
    assert_eq!(member("outer.next.first"), None, "a pointer is not looked through");
    assert_eq!(member("absent.first"), None);
    assert_eq!(member("outer"), None);
}

#[test]
fn names_of_enumerators_typedefs_and_functions_are_found() {
    let btf = Btf::parse(sample()).unwrap();
    assert_eq!(btf.enumerators("reason"), Some(vec![("NONE", 0), ("ABORT", 11)]));
    assert_eq!(btf.enumerator("minus", "LESS"), Some(-1));
    assert_eq!(btf.enumerator("reason", "LESS"), None);
    assert_eq!(btf.enumerators("wide"), Some(vec![("FAR", 1 | 2 << 32)]));
    assert!(btf.has_typedef("btf_trace_x") && !btf.has_typedef("fn_x"));
    assert!(btf.has_function("fn_x") && !btf.has_function("btf_trace_x"));
}

#[test]
fn a_tracepoints_arguments_are_counted_without_the_kernels_own() {
    let btf = Btf::parse(sample()).unwrap();
    assert_eq!(btf.tracepoint_arguments("y"), Some(2));
    assert_eq!(btf.tracepoint_arguments("x"), None, "its prototype is no function's");
    assert_eq!(btf.tracepoint_arguments("absent"), None);
}

#[test]
fn loops_end() {
    let mut b = Builder::default();
    b.header("loop", TYPEDEF, false, 0, 1); // 1: itself
    b.header("s", STRUCT, false, 2, 4); // 2
    b.entry("a", 1, 0);
    b.entry("", 2, 0); // contains itself
    b.header("", ARRAY, false, 0, 0);
    b.words(&[3, 1, 2]); // 3: array of itself
    b.header("t", STRUCT, false, 1, 4);
    b.entry("a", 3, 0);
    let btf = Btf::parse(b.build()).unwrap();
    assert_eq!(btf.member("s.a"), None);
    assert_eq!(btf.member("s.absent"), None);
    assert_eq!(btf.member("t.a"), None);
}

/// Whatever the damage: an error or an answer, no panic.
#[test]
fn damaged_input_is_survived() {
    let ask = |data: Vec<u8>| {
        if let Ok(btf) = Btf::parse(data) {
            for path in ["outer.first", "outer.half", "outer.flag", "outer.next", "outer.absent"] {
                let _ = btf.member(path);
            }
            let _ = (btf.enumerators("reason"), btf.has_typedef("btf_trace_x"));
            let _ = (btf.enumerators("wide"), btf.tracepoint_arguments("y"));
        }
    };
    let whole = sample();
    for length in 0..whole.len() {
        ask(whole[..length].to_vec());
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            ask(damaged);
        }
    }
    assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::Malformed(_))));
    assert!(matches!(Btf::parse(vec![0x9f, 0xeb]), Err(BtfError::Malformed(_))));
}

#[test]
fn the_running_kernel_is_understood_if_it_shows_its_types() {
    let Ok(btf) = Btf::from_kernel() else { return };
    assert_eq!(btf.member("sock.__sk_common.skc_dport"), Some(Member { offset: 12, size: 2 }));
    assert_eq!(btf.member("sock.__sk_common.skc_family"), Some(Member { offset: 16, size: 2 }));
    assert_eq!(btf.member("task_struct.comm").map(|member| member.size), Some(16));
    assert!(btf.has_typedef("btf_trace_inet_sock_set_state"));
    assert_eq!(btf.tracepoint_arguments("inet_sock_set_state"), Some(3));
    assert!(btf.enumerator("bpf_func_id", "BPF_FUNC_map_lookup_elem") == Some(1));
}
