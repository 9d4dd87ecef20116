//! The language, as Go has it.

use serde_json::json;

use super::*;

fn example() -> Json {
    json!({
        "id": "x", "count": 1, "ratio": 0.5, "flag": true,
        "status": {"state": "x", "exitCode": 0, "networks": [{"network": "x", "ipv4Address": "x"}]},
        "labels": {"*": ""}, "names": ["x"], "paused": true, "reason": "x"
    })
}

fn vocabulary() -> Vocabulary {
    Vocabulary::of_examples(
        &[example()],
        &[json!({"Names": "x", "State": {"Running": true}, "Label": {"*": ""}})],
    )
}

fn object() -> (Json, Json) {
    let object = json!({
        "id": "web", "count": 3, "ratio": 0.5, "flag": true,
        "status": {"state": "running", "networks": [
            {"network": "default", "ipv4Address": "10.0.0.2/24"}, {"network": "back", "ipv4Address": "10.1.0.2/24"}
        ]},
        "labels": {"tier": "back", "com.example.x": "1"}, "names": ["a", "b"]
    });
    let words = json!({"Names": "web", "State": {"Running": true}, "Label": {"tier": "back"}});
    (object, words)
}

fn apply(text: &str) -> String {
    let template = Template::new(text, &vocabulary()).unwrap_or_else(|error| panic!("{text}: {error}"));
    let (json, words) = object();
    template.apply(json, words, &vocabulary()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn mistake(text: &str) -> String {
    match Template::new(text, &vocabulary()) {
        Err(error) => error.to_string(),
        Ok(template) => {
            let (json, words) = object();
            template.apply(json, words, &vocabulary()).expect_err(text).to_string()
        }
    }
}

#[test]
fn templates_say_what_go_says() {
    for (text, expected) in [
        ("{{.id}}", "web"),
        ("plain {{ .status.state }}!", "plain running!"),
        ("{{json .names}} {{json .id}} {{json .count}}", "[\"a\",\"b\"] \"web\" 3"),
        ("{{.names}} {{.labels}}", "[a b] map[com.example.x:1 tier:back]"),
        ("{{index .labels \"com.example.x\"}}", "1"),
        ("{{index .labels \"nothing\"}}|{{.labels.nothing}}", "|<no value>"),
        ("{{(index .status.networks 1).ipv4Address}}", "10.1.0.2/24"),
        ("{{range .status.networks}}{{.network}} {{end}}", "default back "),
        ("{{range $i, $n := .names}}{{if $i}},{{end}}{{$n}}{{end}}", "a,b"),
        ("{{range $k, $v := .labels}}{{$k}}={{$v}};{{end}}", "com.example.x=1;tier=back;"),
        ("{{range .names}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
        ("{{range .names}}{{if eq . \"a\"}}{{continue}}{{end}}{{.}}{{$.id}}{{end}}", "bweb"),
        ("{{with .status.exitCode}}{{.}}{{else}}none{{end}}", "none"),
        ("{{with .status.exitCode}}{{.}}{{else with .id}}{{.}}{{end}}", "web"),
        ("{{if eq .count 4}}four{{else if gt .count 2}}many{{else}}few{{end}}", "many"),
        ("{{if and .flag (not .status.exitCode)}}yes{{end}}", "yes"),
        (
            "{{if and .status.exitCode (index .names 5)}}x{{end}}{{or .id (index .names 5)}}{{or .status.exitCode 7}}",
            "web7",
        ),
        ("{{$x := 1}}{{if .flag}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{join .names \", \"}} {{.id | upper | printf \"%-5s|\"}}", "a, b WEB  |"),
        (
            "{{printf \"%05d %.2f %q %v %t %5s%%\" .count .ratio .id .names .flag .id}}",
            "00003 0.50 \"web\" [a b] true   web%",
        ),
        ("{{len .names}} {{len .id}} {{len .status.exitCode}}", "2 3 0"),
        (
            "{{slice .id 1}} {{slice .names 0 1}} {{title .id}} {{truncate .id 2}} {{pad .id 1 2}}|",
            "eb [a] Web we  web  |",
        ),
        ("{{index (split .id \"e\") 1}} {{println .id .count}}", "b web 3\n"),
        (
            "{{eq .id \"x\" \"web\"}} {{ne .id \"web\"}} {{lt .count 10}} {{ge .ratio 0.5}}",
            "true false true true",
        ),
        ("a  {{- .id -}}  b {{/* nothing */}}c{{- /* nothing */ -}} d", "awebb cd"),
        ("{{.id}}\\t{{\"\\t\"}}{{`\\t`}}\\n", "web\t\t\\t\n"),
        // What an object could have and has not is empty, of Docker's words as well.
        ("[{{.status.exitCode}}] {{.Names}} {{.State.Running}} {{.Label \"tier\"}}", "[] web true back"),
        (
            "{{json .status.networks}}",
            "[{\"ipv4Address\":\"10.0.0.2/24\",\"network\":\"default\"},{\"ipv4Address\":\"10.1.0.2/24\",\"network\":\"back\"}]",
        ),
    ] {
        assert_eq!(apply(text), expected, "{text}");
    }
    let (json, _) = object();
    assert_eq!(serde_json::from_str::<Json>(&apply("{{json .}}")).unwrap(), json, "without Docker's words");
}

/// JSON leaves out what is false, and what is not known.
#[test]
fn what_is_not_there_equals_the_zero_of_the_others_kind() {
    for (text, expected) in [
        ("{{if eq .paused false}}runs{{end}} {{eq false .paused}} {{eq .paused true}}", "runs true false"),
        ("{{ne .paused false}} {{ne .paused true}} {{eq true false .paused}}", "false true false"),
        ("{{eq .status.exitCode 0}} {{eq 0 .status.exitCode}} {{eq .status.exitCode 1}}", "true true false"),
        ("{{lt .status.exitCode 0}} {{le .status.exitCode 0}} {{lt .status.exitCode 1}}", "false true true"),
        ("{{gt 1 .status.exitCode}} {{lt 1 .status.exitCode}} {{ge 0 .status.exitCode}}", "true false true"),
        ("{{lt -1 .status.exitCode}} {{eq 0.0 .status.exitCode}}", "true true"),
        (
            "{{eq .reason \"\"}} {{eq \"\" .reason}} {{lt .reason \"a\"}} {{eq .reason .paused}}",
            "true true true true",
        ),
        (
            "{{eq .labels.nothing 0}} {{eq false .labels.nothing}} {{eq .labels.nothing \"\"}}",
            "true true true",
        ),
        (
            "{{printf \"%d %03d %x %.1f %t\" .status.exitCode .status.exitCode .reason .ratio .paused}}",
            "0 000 0 0.5 false",
        ),
        ("{{printf \"%d %t\" .labels.nothing .labels.nothing}}", "0 false"),
    ] {
        assert_eq!(apply(text), expected, "{text}");
    }
}

#[test]
fn mistakes_are_told_in_one_line() {
    for (text, expected) in [
        ("{{.id", "the template ends within {{"),
        ("{{if .id}}", "{{if}} has no {{end}}"),
        ("{{end}}", "{{end}} belongs to nothing"),
        ("{{break}}", "{{break}} belongs to nothing"),
        ("{{}}", "a value is missing within {{ }}"),
        ("{{.id | }}", "a value is missing after '|'"),
        ("{{(.id}}", "a bracket is not closed"),
        ("{{.id)}}", "unexpected ')'"),
        ("{{\"x}}", "a quote is not closed"),
        ("{{#}}", "a template has no use for '#' within {{ }}"),
        ("{{$x}}", "$x is not defined"),
        ("{{define \"x\"}}{{end}}", "{{define}} is not supported"),
        ("{{jsn .id}}", "there is no function 'jsn'; did you mean 'json'?"),
        ("{{join .names}}", "'join' takes 2 arguments"),
        ("{{.ID}}", "there is no key 'ID'; did you mean 'id'?"),
        (
            "{{.ipv4Address}}",
            "there is no key 'ipv4Address'; there are count, flag, id, labels, names, paused, ratio, reason, status, Label, Names, State",
        ),
        ("{{.exitcode}}", "there is no key 'exitcode'; did you mean '.status.exitCode'?"),
        ("{{.status.stat}}", "there is no key 'stat' in .status; did you mean 'state'?"),
        (
            "{{range .status.networks}}{{.ipv4address}}{{end}}",
            "there is no key 'ipv4address' in .status.networks; did you mean 'ipv4Address'?",
        ),
        (
            "{{with .status}}{{if .state}}{{else}}{{.sttae}}{{end}}{{end}}",
            "there is no key 'sttae' in .status; did you mean 'state'?",
        ),
        ("{{index .status \"stat\"}}", "there is no key 'stat' in .status; did you mean 'state'?"),
        ("{{.id.x}}", "there is no key 'x' in .id, which has no keys"),
        ("{{.names.x}}", "there is no key 'x' in .names, which is a list: use {{range}} or index"),
        ("{{range .id}}{{end}}", "{{range}} wants a list or an object"),
        ("{{.id \"x\"}}", "'id' takes no arguments"),
        ("{{index .names 5}}", "there is nothing at 5: the length is 2"),
        ("{{len .count}}", "'len' has no use for a number"),
        ("{{printf \"%d\" .id}}", "printf cannot write a text with %d"),
        ("{{printf \"%s\"}}", "printf has fewer values than its text asks for"),
        ("{{lt .id 1}}", "a text cannot be compared with a number"),
    ] {
        assert_eq!(mistake(text), expected, "{text}");
    }
}

#[test]
fn f85_data_is_harmless_and_json_is_exact() {
    let vocabulary = Vocabulary::of_examples(&[json!({"id": "x"})], &[]);
    let of = |text: &str| {
        let object = json!({"id": "a\u{1b}[2J\n\"b"});
        Template::new(text, &vocabulary).unwrap().apply(object, Json::Null, &vocabulary).unwrap()
    };
    assert_eq!(of("{{.id}}{{println}}"), "a\\u{1b}[2J\\n\"b\n");
    assert_eq!(of("{{upper .id | printf \"%s\"}}"), "A\\U{1B}[2J\\N\"B");
    assert_eq!(of("{{json .id}}"), "\"a\\u001b[2J\\n\\\"b\"");
}

#[test]
fn nobody_exhausts_the_stack() {
    assert_eq!(mistake(&format!("{{{{{}.id}}}}", "(".repeat(100_000))), "the template is nested too deeply");
    assert_eq!(mistake(&"{{if .id}}".repeat(100_000)), "the template is nested too deeply");
    let chain = format!("{{{{if .id}}}}{}{{{{end}}}}", "{{else if .id}}".repeat(100_000));
    assert_eq!(mistake(&chain), "the template is nested too deeply");
}

#[test]
fn titles_are_those_of_the_keys() {
    for (text, header) in [
        ("table {{.id}}\\t{{.status.state}}", "ID\tSTATE"),
        ("table{{.Names | upper}}\\t{{index .labels \"a\"}}\\t{{.Label \"tier\"}}", "NAMES\tLABELS\tTIER"),
        ("table {{.id}} {{range .status.networks}}{{.network}}{{end}}", "ID NETWORK"),
    ] {
        let template = Template::new(text, &vocabulary()).unwrap();
        assert!(template.is_table());
        assert_eq!(template.header(), header);
        assert!(template.mentions(&["id", "Names"]) && !template.mentions(&["ID"]));
    }
    assert!(!Template::new("{{.id}}", &vocabulary()).unwrap().is_table());
}
