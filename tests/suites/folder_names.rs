//! Names and attributes of shared folders that a container keeps until the host changes something.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc;
use std::thread;

use bulkhead_tests::{Installation, PATIENCE, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// A shell in a container that answers each line with one.
struct Shell {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    fn start(installation: &Installation, container: &str) -> Self {
        let script = "while read -r question; do eval \"$question\" 2>/dev/null; done";
        let mut command = installation.command(&["exec", "-i", container, "sh", "-c", script]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("container");
        let questions = child.stdin.take().expect("stdin");
        let answers = BufReader::new(child.stdout.take().expect("stdout"));
        Self { child, questions, answers }
    }

    /// What a command prints, which is one line.
    fn ask(&mut self, question: &str) -> String {
        writeln!(self.questions, "{question}").expect("question");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("answer");
        answer.trim_end().to_owned()
    }

    /// Asks until the answer is this one.
    #[track_caller]
    fn expect(&mut self, question: &str, answer: &str) {
        wait_until(&format!("{question}: {answer}"), || self.ask(question) == answer);
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a directory of fifty files, shared with a container that has listed it.
fn share(installation: &Installation) -> (PathBuf, Shell) {
    let folder = installation.folder().join("host");
    fs::create_dir_all(folder.join("tree/deep")).unwrap();
    for number in 0..50 {
        fs::write(folder.join(format!("tree/f{number}")), "x").unwrap();
    }
    let volume = format!("{}:/shared", text(&folder));
    installation.run_ok(&["run", "-d", "--name", "box", "-v", &volume, "demo", "sleep", "600"]);
    let mut shell = Shell::start(installation, "box");
    for _ in 0..2 {
        assert_eq!(shell.ask("ls -lR /shared | wc -l | xargs echo"), "60");
    }
    (folder, shell)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("path in UTF-8")
}

#[test]
fn what_was_listed_is_looked_at_again_without_asking_the_host() {
    let installation = Installation::with_demo();
    let (_folder, mut shell) = share(&installation);
    let servers = installation.file_servers();
    assert!(!servers.is_empty());
    let signal_all = move |signal| {
        for server in &servers {
            kill_process(Pid::from_raw(*server).unwrap(), signal).unwrap();
        }
    };
    signal_all(Signal::STOP);
    let (done, is_done) = mpsc::channel::<()>();
    // Whoever asks all the same waits until this gives up.
    let guard = thread::spawn(move || {
        let in_time = is_done.recv_timeout(PATIENCE).is_ok();
        signal_all(Signal::CONT);
        in_time
    });
    // Builtins alone: a program would be looked for, and the server can answer nothing.
    let answer = shell.ask(
        "sleep 1; n=0; for f in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29; do \
         [ -s /shared/tree/f$f ] && n=$((n+1)); done; set -- /shared/tree/*; \
         [ -d /shared/tree/deep ] && echo $n $#",
    );
    // Nobody hears it if that has given up.
    let _ = done.send(());
    assert!(guard.join().unwrap(), "the server was asked");
    assert_eq!(answer, "30 51");
}

#[test]
fn what_the_host_does_is_seen_though_names_are_kept() {
    let installation = Installation::with_demo();
    let (folder, mut shell) = share(&installation);
    let tree = folder.join("tree");
    let file = tree.join("f1");
    // What stat(2) says of a path.
    let status = |name: &str| format!("stat -c '%s %a %h' /shared/tree/{name} || echo gone");

    shell.expect(&status("f1"), "1 644 1");
    fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"yz").unwrap();
    shell.expect(&status("f1"), "3 644 1");
    fs::write(&file, "").unwrap();
    shell.expect(&status("f1"), "0 644 1");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    shell.expect(&status("f1"), "0 600 1");

    // As editors save.
    fs::write(folder.join("saved"), "saved").unwrap();
    fs::rename(folder.join("saved"), &file).unwrap();
    shell.expect(&status("f1"), "5 644 1");
    assert_eq!(shell.ask("cat /shared/tree/f1; echo"), "saved");

    // Another name, outside of what is shared, by which it is changed.
    let elsewhere = installation.folder().join("elsewhere");
    fs::hard_link(&file, &elsewhere).unwrap();
    fs::write(folder.join("tree/f2"), "22").unwrap();
    shell.expect(&status("f2"), "2 644 1");
    shell.expect(&status("f1"), "5 644 2");
    fs::write(&elsewhere, "elsewhere").unwrap();
    shell.expect(&status("f1"), "9 644 2");

    fs::remove_file(&file).unwrap();
    shell.expect(&status("f1"), "gone");
    shell.expect("ls /shared/tree | wc -l | xargs echo", "50");
    fs::write(&file, "again").unwrap();
    shell.expect(&status("f1"), "5 644 1");
    shell.expect("ls /shared/tree | wc -l | xargs echo", "51");

    // Names that are not there are waited for: at once, not soon.
    let absent = "[ -e /shared/tree/absent ] && echo there || echo absent";
    for _ in 0..2 {
        assert_eq!(shell.ask(absent), "absent");
        fs::write(tree.join("absent"), "").unwrap();
        assert_eq!(shell.ask(absent), "there");
        fs::remove_file(tree.join("absent")).unwrap();
        shell.expect(absent, "absent");
    }
    assert_eq!(shell.ask("echo x > /shared/tree/absent && cat /shared/tree/absent"), "x");
    assert_eq!(shell.ask(absent), "there");
    assert_eq!(shell.ask("rm /shared/tree/absent; [ -e /shared/tree/absent ] || echo absent"), "absent");
    assert_eq!(shell.ask("mv /shared/tree/f3 /shared/tree/absent; cat /shared/tree/absent; echo"), "x");
    assert_eq!(shell.ask("[ -e /shared/tree/f3 ] || echo absent"), "absent");
    fs::rename(tree.join("absent"), tree.join("f3")).unwrap();
    shell.expect("[ -e /shared/tree/f3 ] && echo there", "there");
    shell.expect(absent, "absent");

    // Attributes of a directory that is open for nobody at the host.
    let inside = "stat -c %Y /shared/tree; ";
    let before = shell.ask(inside);
    assert_eq!(shell.ask(inside), before);
    let old = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    fs::File::open(&tree).unwrap().set_times(old).unwrap();
    shell.expect(inside, "0");
    shell.expect("set -- /shared/tree/*; echo $#", "51");
    fs::create_dir(tree.join("another")).unwrap();
    shell.expect("set -- /shared/tree/*; echo $#", "52");
    assert_ne!(shell.ask(inside), "0");
    fs::remove_dir(tree.join("another")).unwrap();
    shell.expect("set -- /shared/tree/*; echo $#", "51");

    // A change inside follows one that was told already, and the directory was looked up by its name in between.
    let deep = "stat -c %y /shared/tree/deep";
    for number in 0..3 {
        fs::write(tree.join("f4"), vec![b'x'; 10 + number]).unwrap();
        fs::write(tree.join(format!("deep/{number}")), "").unwrap();
        shell.expect("stat -c %s /shared/tree/f4", &(10 + number).to_string());
        let before = shell.ask(deep);
        fs::write(tree.join(format!("deep/again-{number}")), "").unwrap();
        wait_until("the directory is another", || shell.ask(deep) != before);
    }
    fs::remove_dir_all(tree.join("deep")).unwrap();
    fs::create_dir(tree.join("deep")).unwrap();
    shell.expect("ls /shared/tree/deep | wc -l | xargs echo", "0");

    // Directories, below and above.
    fs::write(tree.join("deep/new"), "1").unwrap();
    shell.expect("ls /shared/tree/deep", "new");
    fs::set_permissions(tree.join("deep"), fs::Permissions::from_mode(0o700)).unwrap();
    shell.expect("stat -c %a /shared/tree/deep", "700");
    fs::rename(tree.join("deep"), tree.join("deeper")).unwrap();
    shell.expect("ls /shared/tree/deep || echo gone", "gone");
    shell.expect("ls /shared/tree/deeper", "new");
    fs::rename(&tree, folder.join("trunk")).unwrap();
    shell.expect("[ -e /shared/tree/f2 ] && echo there || echo gone", "gone");
    shell.expect("[ -e /shared/trunk/f2 ] && echo there || echo gone", "there");
    fs::remove_dir_all(folder.join("trunk")).unwrap();
    shell.expect("ls /shared | wc -l | xargs echo", "0");
}

#[test]
fn no_change_of_many_is_missed() {
    let installation = Installation::with_demo();
    let (folder, mut shell) = share(&installation);
    for size in 1..=400 {
        // In turn: written in place, as editors save, and next to another change.
        let name = format!("f{}", size % 7);
        let path = folder.join("tree").join(&name);
        match size % 3 {
            0 => fs::write(&path, vec![b'x'; size]).unwrap(),
            1 => {
                fs::write(folder.join("saved"), vec![b'x'; size]).unwrap();
                fs::rename(folder.join("saved"), &path).unwrap();
            }
            _ => {
                fs::write(folder.join("tree/f40"), vec![b'y'; size]).unwrap();
                fs::write(&path, vec![b'x'; size]).unwrap();
            }
        }
        shell.expect(&format!("stat -c %s /shared/tree/{name}"), &size.to_string());
    }
}

#[test]
fn a_file_that_is_open_grows_as_the_host_writes() {
    let installation = Installation::with_demo();
    let (folder, mut shell) = share(&installation);
    let volume = format!("{}:/shared", text(&folder));
    let follow = ["run", "-d", "--name", "follower", "-v", &volume, "demo", "tail", "-f", "/shared/tree/f1"];
    installation.run_ok(&follow);
    let mut log = fs::OpenOptions::new().append(true).open(folder.join("tree/f1")).unwrap();
    for line in ["\nfirst\n", "second\n", "third\n"] {
        log.write_all(line.as_bytes()).unwrap();
        wait_until("the line arrives", || installation.run_ok(&["logs", "follower"]).contains(line.trim()));
        // The log is rotated meanwhile; whoever reads it goes on.
        if line == "second\n" {
            fs::rename(folder.join("tree/f1"), folder.join("tree/f1.old")).unwrap();
        }
    }
    // What another container does is seen as what the host does.
    installation.run_ok(&["exec", "follower", "sh", "-c", "echo from the other > /shared/tree/f3"]);
    shell.expect("stat -c %s /shared/tree/f3", "15");
}
