//! Files of shared folders that have no name (`O_TMPFILE`).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use bulkhead_tests::{Installation, wait_until};

fn text(path: &Path) -> &str {
    path.to_str().expect("path in UTF-8")
}

/// A folder that is shared, with a file.
fn shared(installation: &Installation) -> PathBuf {
    let folder = installation.folder().join("host/shared");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("file"), "from the host\n").unwrap();
    folder
}

/// Runs a program in Python, of the name `box`, with the folder at /shared.
fn start_python(installation: &Installation, folder: &Path, options: &[&str], program: &str) {
    let volume = format!("{}:/shared", text(folder));
    let run = ["run", "-d", "--name", "box", "-v", &volume];
    let program =
        format!("import ctypes, os, signal, time\nlibc = ctypes.CDLL(None)\nos.chdir('/shared')\n{program}");
    installation.run_ok(&[&run[..], options, &["debian:test", "python3", "-u", "-c", &program]].concat());
}

#[test]
fn a_file_without_a_name_is_the_hosts_when_it_has_one() {
    let installation = Installation::with_debian();
    let folder = shared(&installation);
    let program = "
os.umask(0o022)
file = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o777)
os.write(file, b'#!/bin/sh\\necho guest\\n')
open('unnamed', 'w').close()
while not os.path.exists('link'): time.sleep(0.05)
os.fchown(file, 1234, 77)
os.link(f'/proc/self/fd/{file}', 'new', src_dir_fd=0)
other = os.open('new', os.O_RDONLY)
watch = libc.inotify_init()
assert libc.inotify_add_watch(watch, f'/proc/self/fd/{file}'.encode(), 2) > 0
open('linked', 'w').close()
while not os.path.exists('written'): time.sleep(0.05)
# IN_MODIFY, by the host.
assert os.read(watch, 100)[4] == 2
print(os.pread(file, 100, 0), os.pread(other, 100, 0), os.fstat(file).st_size, os.stat('new').st_size)
print(os.fstat(file).st_ino == os.stat('new').st_ino, os.fstat(file).st_mode & 0o777)
os.rename('new', 'renamed')
os.close(file), os.close(other)
print(os.listdir('.').count('renamed'), open('renamed').read())
open('closed', 'w').close()
time.sleep(600)
";
    start_python(&installation, &folder, &[], program);
    wait_until("the file without a name", || folder.join("unnamed").exists());
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    fs::write(folder.join("link"), "").unwrap();
    wait_until("its name", || folder.join("linked").exists());
    let new = folder.join("new");
    assert_eq!(fs::read_to_string(&new).unwrap(), "#!/bin/sh\necho guest\n");
    let made = fs::metadata(&new).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777, made.nlink()), (1234, 77, 0o755, 1));
    fs::write(&new, "#!/bin/sh\necho host\n").unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o711)).unwrap();
    fs::write(folder.join("written"), "").unwrap();
    wait_until("the end of it", || folder.join("closed").exists());
    let content = "b'#!/bin/sh\\necho host\\n'";
    let printed = installation.run_ok(&["logs", "box"]);
    let expected = format!("{content} {content} 20 20\nTrue {}\n1 #!/bin/sh\necho host", 0o711);
    assert_eq!(printed.trim_end(), expected);
    // The guest knows it still, but nobody writes it.
    let outcome = Command::new(folder.join("renamed")).output().unwrap();
    assert_eq!(outcome.stdout, b"host\n", "{outcome:?}");
    installation.run_ok(&["delete", "--force", "box"]);

    let script = "import os, errno\ntry: os.open('/shared', os.O_TMPFILE | os.O_RDWR)\n\
                  except OSError as error: print(errno.errorcode[error.errno])";
    let volume = format!("{}:/shared:ro", text(&folder));
    let run = ["run", "--rm", "-v", &volume, "debian:test", "python3", "-c", script];
    assert_eq!(installation.run_ok(&run), "EROFS");
}

#[test]
fn files_without_names_go_with_their_program() {
    const FILES: usize = 2000;
    let installation = Installation::with_debian();
    let folder = shared(&installation);
    let program = format!(
        "
open('started', 'w').close()
while not os.path.exists('go'): time.sleep(0.05)
if os.fork() == 0:
    files = [os.open('.', os.O_TMPFILE | os.O_RDWR) for _ in range({FILES})]
    for number, file in enumerate(files):
        os.write(file, b'x' * 5000)
        if number < 100: os.link(f'/proc/self/fd/{{file}}', str(number), src_dir_fd=0)
    for number in range(100): os.remove(str(number))
    open('opened', 'w').close()
    while not os.path.exists('die'): time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
open('dead', 'w').close()
time.sleep(600)
"
    );
    start_python(&installation, &folder, &["--ulimit", "nofile=10000:10000"], &program);
    let open = || {
        let servers = installation.file_servers();
        let files = servers.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok()).flatten();
        let targets = files.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().ends_with(" (deleted)")).count()
    };
    // The memory of the machine is a file that has no name, too.
    wait_until("the program", || folder.join("started").exists());
    let before = open();
    fs::write(folder.join("go"), "").unwrap();
    wait_until("all the files", || folder.join("opened").exists());
    assert!(open() >= before + FILES, "this test looks at the wrong place");
    fs::write(folder.join("die"), "").unwrap();
    wait_until("its death", || folder.join("dead").exists());
    wait_until("the files are gone", || open() == before);
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dead", "die", "file", "go", "opened", "started"]);
}
