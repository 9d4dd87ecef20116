//! What developers do all day, on a volume and on a folder of the host: check out, build, install.

use bulkhead_tests::{Installation, Outcome, places};

fn run(installation: &Installation, place: &str, script: &str) -> Outcome {
    let script = format!("set -e\n{script}");
    installation.container(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        place,
        "debian:test",
        "sh",
        "-c",
        &script,
    ])
}

/// A repository whose Makefile compiles forty files into a program.
const CLONE_AND_BUILD: &str = r#"
export HOME=/root
git config --global user.name one && git config --global user.email one@example.org
git config --global init.defaultBranch main && git config --global advice.detachedHead false
git init -q --bare /srv/origin && git clone -q /srv/origin /root/first 2>/dev/null && cd /root/first
for n in $(seq 40); do echo "int f$n(void){return $n;}" > f$n.c; done
{ for n in $(seq 40); do echo "int f$n(void);"; done; echo 'int main(void){return f40() - 40 + f1() - 1;}'; } > main.c
printf 'program: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\tgcc -o $@ $^\n.c.o:\n\tgcc -O0 -c $<\n' > Makefile
printf '*.o\nprogram\n' > .gitignore
printf '#!/bin/sh\necho tool\n' > tool && chmod 755 tool && ln -s tool link
mkdir -p deep/er && for n in $(seq 200); do echo $n > deep/er/$n; done
git add . && git commit -q -m first && git push -q origin HEAD:main

git clone -q /srv/origin /data/project && cd /data/project
make -s -j2 && ./program && ./link
test -z "$(git status --porcelain)"
git checkout -q -b topic && git mv deep/er deep/est && git commit -q -a -m moved
git checkout -q main && test -e deep/er/200 && git merge -q topic && test -e deep/est/200
git gc -q && git fsck --no-progress
make -s -q
echo changed >> f1.c && git status --porcelain && git stash -q && test -z "$(git status --porcelain)"
find . -name '*.o' | wc -l
"#;

#[test]
fn a_repository_is_cloned_built_and_merged_on_each_place() {
    let installation = Installation::with_debian();
    for place in places(&installation) {
        let outcome = run(&installation, &place, CLONE_AND_BUILD);
        assert_eq!(
            (outcome.code, outcome.text().as_str()),
            (0, "tool\n M f1.c\n41\n"),
            "{place}: {outcome:?}"
        );
    }
    let checked_out = std::fs::read_to_string(installation.folder().join("host/project/deep/est/200"));
    assert_eq!(checked_out.expect("the host has it"), "200\n");
}

/// Thirty packages, one of which has a program, another a dependency.
const INSTALL_PACKAGES: &str = r#"
mkdir -p /data/app /srv/package && cd /srv
for n in $(seq 30); do
    rm -rf package/* && mkdir -p package/lib
    echo "module.exports = $n" > package/index.js
    for m in $(seq 10); do echo "// $m" > package/lib/$m.js; done
    extra='"main": "index.js"'
    if [ $n = 1 ]; then
        extra='"bin": {"one": "one.js"}'
        printf '#!/usr/bin/env node\nconsole.log("ran", require("p30"))\n' > package/one.js && chmod 755 package/one.js
    fi
    echo "{\"name\": \"p$n\", \"version\": \"1.0.$n\", $extra}" > package/package.json
    tar -czf /data/app/p$n.tgz package
done
cd /data/app
{ echo '{"name": "app", "version": "1.0.0", "scripts": {"start": "one"}, "dependencies": {'
  for n in $(seq 29); do echo "\"p$n\": \"file:p$n.tgz\","; done; echo '"p30": "file:p30.tgz"}}'; } > package.json
quiet="--offline --no-audit --no-fund --loglevel=error"
npm install $quiet > /dev/null
npm start --silent
test -L node_modules/.bin/one
npm ci $quiet > /dev/null
find node_modules -name '*.js' | wc -l
node -e 'let sum = 0; for (let n = 2; n <= 30; n++) sum += require("p" + n); console.log(sum)'
"#;

#[test]
fn packages_are_installed_on_each_place() {
    let installation = Installation::with_debian();
    for place in places(&installation) {
        let outcome = run(&installation, &place, INSTALL_PACKAGES);
        assert_eq!(
            (outcome.code, outcome.text().as_str()),
            (0, "ran 30\n331\n464\n"),
            "{place}: {outcome:?}"
        );
    }
}
