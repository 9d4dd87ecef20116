"""What POSIX and Linux promise of files, tried in each directory that is named as an argument.

Prints a line for each case that does not hold there: place, case, reason. Runs as root; the last line
says how many cases were tried.
"""

import ctypes, errno, fcntl, mmap, os, random, signal, socket, stat, struct, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
CASES = []
NOBODY = 65534


def case(function):
    CASES.append(function)
    return function


def fails(number, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except OSError as error:
        assert error.errno == number, f"{errno.errorcode.get(error.errno)} instead of {errno.errorcode[number]}"
    else:
        raise AssertionError(f"succeeds instead of {errno.errorcode[number]}")


def make(name, content=b""):
    with open(name, "wb") as file:
        file.write(content)


def as_user(work, user=NOBODY, group=NOBODY):
    """In a process of another user; what it asserts counts."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
            work()
        except BaseException as error:
            os.write(write, repr(error).encode())
        os._exit(0)
    os.close(write)
    complaint = os.read(read, 4096)
    os.close(read)
    os.waitpid(child, 0)
    assert not complaint, complaint.decode()


def ctime(name):
    return os.lstat(name).st_ctime_ns


def changes_ctime(name, work):
    before = ctime(name)
    time.sleep(0.02)
    work()
    assert ctime(name) > before, "the change time stays"


@case
def open_errors():
    make("file")
    os.mkdir("dir")
    os.symlink("loop", "loop")
    fails(errno.ENOENT, os.open, "missing", os.O_RDONLY)
    fails(errno.ENOENT, os.open, "missing/file", os.O_CREAT | os.O_WRONLY)
    fails(errno.ENOTDIR, os.open, "file/below", os.O_RDONLY)
    fails(errno.EEXIST, os.open, "file", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    fails(errno.EISDIR, os.open, "dir", os.O_WRONLY)
    fails(errno.ELOOP, os.open, "loop", os.O_RDONLY)
    fails(errno.ELOOP, os.open, "loop", os.O_RDONLY | os.O_NOFOLLOW)
    fails(errno.ENOTDIR, os.open, "file", os.O_RDONLY | os.O_DIRECTORY)
    fails(errno.ENAMETOOLONG, os.open, "x" * 256, os.O_CREAT | os.O_WRONLY)
    fails(errno.ENXIO, lambda: (os.mkfifo("pipe"), os.open("pipe", os.O_WRONLY | os.O_NONBLOCK)))


@case
def names_of_255_bytes():
    name = "x" * 255
    make(name, b"1")
    assert os.listdir(".") == [name]
    os.rename(name, "y" * 255)
    os.unlink("y" * 255)


@case
def bytes_of_names_are_free():
    name = bytes(set(range(1, 256)) - {ord("/")})
    make(name)
    assert os.listdir(b".") == [name]


@case
def modes_and_umask():
    os.umask(0o027)
    make("file")
    os.mkdir("dir")
    assert stat.S_IMODE(os.stat("file").st_mode) == 0o640
    assert stat.S_IMODE(os.stat("dir").st_mode) == 0o750
    os.umask(0)
    os.close(os.open("all", os.O_CREAT | os.O_WRONLY, 0o7777))
    assert stat.S_IMODE(os.stat("all").st_mode) == 0o7777


@case
def chmod():
    make("file")
    for mode in (0o000, 0o7777, 0o4755, 0o644):
        os.chmod("file", mode)
        assert stat.S_IMODE(os.stat("file").st_mode) == mode, oct(os.stat("file").st_mode)
    changes_ctime("file", lambda: os.chmod("file", 0o600))
    fails(errno.ENOENT, os.chmod, "missing", 0o644)
    as_user(lambda: fails(errno.EPERM, os.chmod, "file", 0o644))


@case
def chmod_of_a_foreign_group_drops_setgid():
    make("file")
    os.chown("file", NOBODY, 12345)
    as_user(lambda: os.chmod("file", 0o2755))
    assert stat.S_IMODE(os.stat("file").st_mode) == 0o755


@case
def chown():
    make("file")
    os.symlink("file", "link")
    os.chown("file", 123, 456)
    assert (os.stat("file").st_uid, os.stat("file").st_gid) == (123, 456)
    os.chown("link", 7, 8, follow_symlinks=False)
    assert os.lstat("link").st_uid == 7 and os.stat("file").st_uid == 123
    changes_ctime("file", lambda: os.chown("file", 1, -1))
    assert os.stat("file").st_gid == 456
    as_user(lambda: fails(errno.EPERM, os.chown, "file", NOBODY, NOBODY))


@case
def chown_by_a_user_drops_setuid():
    make("file")
    os.chown("file", NOBODY, NOBODY)
    os.chmod("file", 0o6755)
    as_user(lambda: os.chown("file", -1, NOBODY))
    assert stat.S_IMODE(os.stat("file").st_mode) == 0o755, oct(os.stat("file").st_mode)


@case
def writing_by_a_user_drops_setuid():
    make("file")
    os.chmod("file", 0o6777)

    def write():
        file = os.open("file", os.O_WRONLY)
        os.write(file, b"x")
        os.close(file)

    as_user(write)
    assert stat.S_IMODE(os.stat("file").st_mode) == 0o777, oct(os.stat("file").st_mode)


@case
def files_belong_to_who_makes_them():
    os.chmod(".", 0o777)

    def work():
        make("file")
        os.mkdir("dir")
        os.symlink("file", "link")
        os.mkfifo("pipe")
        for name in ("file", "dir", "link", "pipe"):
            status = os.lstat(name)
            assert (status.st_uid, status.st_gid) == (NOBODY, NOBODY), name

    as_user(work)


@case
def setgid_directories_pass_their_group_on():
    os.mkdir("dir")
    os.chown("dir", 0, 777)
    os.chmod("dir", 0o2777)

    def work():
        make("dir/file")
        os.mkdir("dir/below")

    as_user(work)
    assert os.stat("dir/file").st_gid == 777
    below = os.stat("dir/below")
    assert below.st_gid == 777 and below.st_mode & stat.S_ISGID


@case
def permissions_of_directories():
    os.mkdir("dir", 0o755)
    make("dir/file")

    def work():
        fails(errno.EACCES, os.unlink, "dir/file")
        fails(errno.EACCES, make, "dir/new")
        fails(errno.EACCES, os.rename, "dir/file", "dir/other")
        fails(errno.EACCES, os.mkdir, "dir/new")
        fails(errno.EACCES, os.symlink, "x", "dir/new")

    as_user(work)
    os.chmod("dir", 0o700)
    as_user(lambda: fails(errno.EACCES, os.stat, "dir/file"))


@case
def sticky_directories():
    os.chmod(".", 0o1777)
    make("file")
    os.chmod("file", 0o666)
    as_user(lambda: fails(errno.EPERM, os.unlink, "file"))
    as_user(lambda: fails(errno.EPERM, os.rename, "file", "mine"))


@case
def link():
    make("a", b"content")
    os.link("a", "b")
    assert os.stat("a").st_nlink == 2 and os.path.samefile("a", "b")
    os.unlink("a")
    assert open("b", "rb").read() == b"content" and os.stat("b").st_nlink == 1
    make("a")
    os.mkdir("dir")
    fails(errno.EEXIST, os.link, "a", "b")
    fails(errno.EPERM, os.link, "dir", "c")
    fails(errno.ENOENT, os.link, "missing", "c")
    changes_ctime("a", lambda: os.link("a", "c"))


@case
def a_link_to_a_link():
    os.symlink("target", "link")
    os.link("link", "other", follow_symlinks=False)
    assert os.readlink("other") == "target"


@case
def unlink():
    make("file")
    os.mkdir("dir")
    fails(errno.ENOENT, os.unlink, "missing")
    fails(errno.EISDIR, os.unlink, "dir")
    fails(errno.ENOTDIR, os.unlink, "file/x")
    os.unlink("file")
    fails(errno.ENOENT, os.stat, "file")


@case
def unlinked_files_live_on():
    file = os.open("file", os.O_CREAT | os.O_RDWR)
    os.write(file, b"before")
    os.unlink("file")
    assert os.fstat(file).st_nlink == 0
    os.pwrite(file, b"after!", 6)
    os.fchmod(file, 0o600)
    os.ftruncate(file, 11)
    assert os.pread(file, 100, 0) == b"beforeafter"
    os.close(file)


@case
def mkdir_and_rmdir():
    os.mkdir("dir")
    assert os.stat("dir").st_nlink == 2
    os.mkdir("dir/below")
    assert os.stat("dir").st_nlink == 3
    fails(errno.EEXIST, os.mkdir, "dir")
    fails(errno.ENOTEMPTY, os.rmdir, "dir")
    fails(errno.EINVAL, os.rmdir, "dir/below/.")
    make("file")
    fails(errno.ENOTDIR, os.rmdir, "file")
    fails(errno.ENOENT, os.mkdir, "missing/dir")
    os.rmdir("dir/below")
    os.rmdir("dir")


@case
def symlink():
    os.symlink("a" * 4095, "long")
    assert os.readlink("long") == "a" * 4095 and os.lstat("long").st_size == 4095
    fails(errno.EEXIST, os.symlink, "x", "long")
    fails(errno.EINVAL, os.readlink, ".")
    os.symlink("missing", "dangling")
    fails(errno.ENOENT, os.stat, "dangling")
    make("dangling")
    assert os.path.exists("missing")


@case
def fifos_and_sockets():
    os.mkfifo("pipe", 0o600)
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("pipe", os.O_WRONLY)
    os.write(writer, b"through")
    assert os.read(reader, 100) == b"through"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    listener.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("socket")
    fails(errno.EEXIST, os.mkfifo, "pipe")


@case
def rename():
    make("a", b"a")
    make("b", b"b")
    inode = os.stat("a").st_ino
    os.rename("a", "b")
    assert open("b", "rb").read() == b"a" and os.stat("b").st_ino == inode
    fails(errno.ENOENT, os.rename, "a", "c")
    os.makedirs("dir/below")
    fails(errno.EISDIR, os.rename, "b", "dir")
    fails(errno.ENOTDIR, os.rename, "dir", "b")
    fails(errno.EINVAL, os.rename, "dir", "dir/below/x")
    os.mkdir("other")
    fails(errno.ENOTEMPTY, os.rename, "other", "dir")
    os.rename("dir/below", "other")
    assert os.listdir("dir") == []
    os.link("b", "same")
    os.rename("b", "same")
    assert os.path.exists("b"), "two names of one file both stay"


def renameat2(old, new, flags):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


@case
def rename_with_flags():
    make("a", b"a")
    make("b", b"b")
    fails(errno.EEXIST, renameat2, "a", "b", 1)
    renameat2("a", "b", 2)
    assert (open("a", "rb").read(), open("b", "rb").read()) == (b"b", b"a")
    renameat2("a", "c", 1)


@case
def rename_of_open_files():
    file = os.open("a", os.O_CREAT | os.O_RDWR)
    os.rename("a", "b")
    os.write(file, b"later")
    assert open("b", "rb").read() == b"later"
    os.mkdir("dir")
    inside = os.open("dir", os.O_RDONLY | os.O_DIRECTORY)
    os.rename("dir", "moved")
    os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=inside))
    assert os.listdir("moved") == ["new"]


@case
def renames_race_without_loss():
    make("a", b"kept")
    stop = threading.Event()
    seen = []

    def swap():
        while not stop.is_set():
            os.rename("a", "b")
            os.rename("b", "a")

    thread = threading.Thread(target=swap)
    thread.start()
    for _ in range(300):
        for name in ("a", "b"):
            try:
                seen.append(open(name, "rb").read())
            except FileNotFoundError:
                pass
    stop.set()
    thread.join()
    assert seen and set(seen) == {b"kept"}


@case
def readers_see_old_or_new_of_a_replaced_file():
    make("file", b"0" * 5000)
    stop = threading.Event()

    def replace():
        number = 0
        while not stop.is_set():
            number = (number + 1) % 10
            make("next", str(number).encode() * 5000)
            os.rename("next", "file")

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(200):
            content = open("file", "rb").read()
            assert len(content) == 5000 and len(set(content)) == 1, f"{len(content)} bytes"
    finally:
        stop.set()
        thread.join()


@case
def truncate():
    make("file", b"0123456789")
    os.truncate("file", 5)
    assert open("file", "rb").read() == b"01234"
    os.truncate("file", 8)
    assert open("file", "rb").read() == b"01234\0\0\0"
    fails(errno.EINVAL, os.truncate, "file", -1)
    fails(errno.EISDIR, os.truncate, ".", 0)
    changes_ctime("file", lambda: os.truncate("file", 3))
    os.close(os.open("file", os.O_WRONLY | os.O_TRUNC))
    assert os.stat("file").st_size == 0


@case
def times():
    make("file")
    os.utime("file", ns=(1_000_000_001, 2_000_000_002))
    status = os.stat("file")
    assert (status.st_atime_ns, status.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    os.utime("file", ns=(4_000_000_000 * 10**9 + 7, 5))
    assert os.stat("file").st_atime_ns == 4_000_000_000 * 10**9 + 7
    before = os.stat("file").st_mtime_ns
    with open("file", "ab") as file:
        file.write(b"x")
    assert os.stat("file").st_mtime_ns > before
    before = os.stat(".").st_mtime_ns
    time.sleep(0.02)
    make("new")
    assert os.stat(".").st_mtime_ns > before
    os.chmod("file", 0o644)
    as_user(lambda: fails(errno.EPERM, os.utime, "file", ns=(1, 1)))


@case
def appending():
    files = [os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND) for _ in range(2)]
    for _ in range(50):
        for number, file in enumerate(files):
            os.write(file, b"%d\n" % number)
    assert open("log", "rb").read().count(b"\n") == 100


@case
def holes():
    file = os.open("file", os.O_CREAT | os.O_RDWR)
    os.pwrite(file, b"end", 1 << 30)
    os.fsync(file)
    status = os.fstat(file)
    assert status.st_size == (1 << 30) + 3 and status.st_blocks < 64, status.st_blocks
    assert os.lseek(file, 0, os.SEEK_DATA) == 1 << 30
    assert os.lseek(file, 0, os.SEEK_HOLE) == 0
    assert os.lseek(file, 1 << 30, os.SEEK_HOLE) == (1 << 30) + 3
    fails(errno.ENXIO, os.lseek, file, 1 << 31, os.SEEK_DATA)


def fallocate(file, mode, start, length):
    if libc.fallocate(file, mode, ctypes.c_long(start), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


@case
def fallocating():
    file = os.open("file", os.O_CREAT | os.O_RDWR)
    fallocate(file, 0, 0, 1 << 20)
    status = os.fstat(file)
    assert status.st_size == 1 << 20 and status.st_blocks >= 2048
    fallocate(file, 1, 1 << 20, 1 << 20)
    assert os.fstat(file).st_size == 1 << 20, "keep the size"
    os.pwrite(file, b"x" * (1 << 20), 0)
    fallocate(file, 3, 4096, 8192)
    assert os.pread(file, 16384, 0) == b"x" * 4096 + b"\0" * 8192 + b"x" * 4096
    fails(errno.EINVAL, fallocate, file, 0, 0, 0)


@case
def mapping():
    make("file", b"\0" * 8192)
    file = os.open("file", os.O_RDWR)
    memory = mmap.mmap(file, 8192, mmap.MAP_SHARED)
    memory[4000:4200] = b"x" * 200
    assert os.pread(file, 200, 4000) == b"x" * 200, "reading sees what was written through the mapping"
    os.pwrite(file, b"y", 0)
    assert memory[0:1] == b"y", "the mapping sees what was written"
    memory.flush()
    child = os.fork()
    if child == 0:
        memory[1:2] = b"z"
        os._exit(0)
    os.waitpid(child, 0)
    assert memory[1:2] == b"z"
    memory.close()
    os.close(file)
    content = open("file", "rb").read()
    assert content[:2] == b"yz" and content[4000:4200] == b"x" * 200


@case
def direct_io():
    file = os.open("file", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4096)
    buffer.write(b"d" * 4096)
    assert os.pwritev(file, [buffer], 0) == 4096
    back = mmap.mmap(-1, 4096)
    assert os.preadv(file, [back], 0) == 4096 and back[:] == b"d" * 4096


@case
def extended_attributes():
    make("file")
    os.setxattr("file", "user.a", b"1")
    os.setxattr("file", "user.b", b"x" * 1000)
    assert os.getxattr("file", "user.a") == b"1"
    assert sorted(os.listxattr("file")) == ["user.a", "user.b"]
    fails(errno.EEXIST, os.setxattr, "file", "user.a", b"2", os.XATTR_CREATE)
    fails(errno.ENODATA, os.setxattr, "file", "user.c", b"2", os.XATTR_REPLACE)
    os.removexattr("file", "user.a")
    fails(errno.ENODATA, os.getxattr, "file", "user.a")
    os.mkdir("dir")
    os.setxattr("dir", "user.d", b"")
    assert os.getxattr("dir", "user.d") == b""


@case
def access_control_lists():
    make("file")
    entries = [(1, 6, 0xFFFFFFFF), (2, 4, 1234), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr("file", "system.posix_acl_access", value)
    assert os.getxattr("file", "system.posix_acl_access") == value


@case
def access_control_lists_count():
    os.chmod(".", 0o755)
    nobody = 0xFFFFFFFF

    def grant(path, kind, permissions):
        entries = [(1, 7, nobody), (2, permissions, 1234), (4, 0, nobody), (16, permissions, nobody), (32, 0, nobody)]
        value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        os.setxattr(path, f"system.posix_acl_{kind}", value)

    def read_as(user, path):
        def work():
            os.setresuid(user, user, user)
            open(path).close()

        return elsewhere(work)

    make("file")
    os.chmod("file", 0o600)
    assert (read_as(1234, "file"), read_as(1235, "file")) == ("EACCES", "EACCES")
    grant("file", "access", 4)
    assert (read_as(1234, "file"), read_as(1235, "file")) == ("taken", "EACCES")
    grant("file", "access", 0)
    assert read_as(1234, "file") == "EACCES", "the list before is in force"
    os.mkdir("directory", 0o755)
    grant("directory", "default", 4)
    make("directory/inner")
    assert (read_as(1234, "directory/inner"), read_as(1235, "directory/inner")) == ("taken", "EACCES")


@case
def devices():
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert stat.S_ISCHR(os.stat("null").st_mode)


def unnamed(flags=os.O_RDWR, mode=0o600, place="."):
    return os.open(place, os.O_TMPFILE | flags, mode)


def give_name(file, name, by_descriptor=False):
    name = name.encode()
    if by_descriptor:
        outcome = libc.linkat(file, b"", -100, name, 0x1000)
    else:
        outcome = libc.linkat(-100, f"/proc/self/fd/{file}".encode(), -100, name, 0x400)
    if outcome != 0:
        raise OSError(ctypes.get_errno(), "linkat")


@case
def unnamed_files():
    os.umask(0o027)
    file = unnamed(mode=0o666)
    os.umask(0o022)
    status = os.fstat(file)
    assert (status.st_nlink, status.st_size, status.st_mode) == (0, 0, stat.S_IFREG | 0o640)
    assert os.listdir(".") == []
    os.write(file, b"unnamed")
    assert os.pread(file, 100, 0) == b"unnamed" and os.fstat(file).st_size == 7
    os.ftruncate(file, 100_000)
    assert os.pread(file, 100, 99_990) == bytes(10)
    os.posix_fallocate(file, 0, 200_000)
    assert os.fstat(file).st_size == 200_000 and os.fstat(file).st_blocks * 512 >= 200_000
    os.ftruncate(file, 0)
    os.pwrite(file, b"x", 1 << 20)
    assert os.lseek(file, 0, os.SEEK_DATA) > 0 and os.lseek(file, 0, os.SEEK_HOLE) == 0
    assert os.lseek(file, 0, os.SEEK_END) == (1 << 20) + 1
    with mmap.mmap(file, 4096) as mapping:
        mapping[:6] = b"mapped"
        mapping.flush()
        assert os.pread(file, 6, 0) == b"mapped"
        os.pwrite(file, b"again!", 0)
        assert mapping[:6] == b"again!"
    os.fsync(file), os.fdatasync(file)
    os.fchmod(file, 0o4711), os.utime(file, ns=(10**18 + 1, 10**18 + 2))
    status = os.fstat(file)
    assert status.st_mode & 0o7777 == 0o4711
    assert (status.st_atime_ns, status.st_mtime_ns) == (10**18 + 1, 10**18 + 2)
    os.setxattr(file, "user.one", b"1"), os.setxattr(file, "user.two", b"22")
    assert sorted(os.listxattr(file)) == ["user.one", "user.two"] and os.getxattr(file, "user.two") == b"22"
    os.removexattr(file, "user.one")
    fails(errno.ENODATA, os.getxattr, file, "user.one")
    assert os.fstatvfs(file).f_blocks == os.statvfs(".").f_blocks
    # Opened once more, by the only way there is.
    again = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
    assert os.fstat(again).st_ino == os.fstat(file).st_ino and os.pread(again, 6, 0) == b"again!"
    fails(errno.EBADF, os.write, again, b"x")
    other = unnamed(os.O_WRONLY)
    assert os.copy_file_range(file, other, 6, 0, 0) == 6
    fails(errno.EBADF, os.read, other, 1)
    make("named", b"content")
    assert os.copy_file_range(os.open("named", os.O_RDONLY), other, 7, 0, 6) == 7
    assert os.copy_file_range(file, os.open("named", os.O_WRONLY), 6, 0, 0) == 6
    assert open("named", "rb").read() == b"again!t"
    assert open(f"/proc/self/fd/{other}", "rb").read() == b"again!content"
    adding = unnamed(os.O_WRONLY | os.O_APPEND)
    os.write(adding, b"one"), os.pwrite(os.open(f"/proc/self/fd/{adding}", os.O_WRONLY), b"two", 3), os.write(adding, b"!")
    assert open(f"/proc/self/fd/{adding}", "rb").read() == b"onetwo!"
    os.open(f"/proc/self/fd/{adding}", os.O_WRONLY | os.O_TRUNC)
    assert os.fstat(adding).st_size == 0
    assert os.listdir(".") == ["named"]
    fails(errno.EINVAL, unnamed, os.O_RDONLY)
    fails(errno.ENOTDIR, unnamed, place="named")
    fails(errno.ENOENT, unnamed, place="missing")


@case
def unnamed_files_get_names():
    os.mkdir("inner")
    for by_descriptor in (False, True):
        name = f"inner/{by_descriptor}"
        file = unnamed()
        os.write(file, b"unnamed")
        mapping = mmap.mmap(file, 7)
        make("taken", b"as before")
        fails(errno.EEXIST, give_name, file, "taken", by_descriptor)
        fails(errno.ENOENT, give_name, file, "missing/name", by_descriptor)
        assert open("taken", "rb").read() == b"as before" and os.fstat(file).st_nlink == 0
        give_name(file, name, by_descriptor)
        assert os.listdir("inner") == [str(by_descriptor)]
        mine, named = os.fstat(file), os.stat(name)
        assert (mine.st_ino, mine.st_nlink, mine.st_dev) == (named.st_ino, 1, named.st_dev)
        assert next(os.scandir("inner")).inode() == mine.st_ino
        # The same file for whoever has it.
        assert open(name, "rb").read() == b"unnamed"
        with open(name, "r+b", 0) as other:
            os.pwrite(file, b"U", 0)
            assert other.read(2) == b"Un"
            other.write(b"N")
            assert os.pread(file, 7, 0) == b"UnNamed"
            mapping[3:4] = b"A"
            other.seek(0)
            assert other.read() == b"UnNAmed"
            fcntl.flock(file, fcntl.LOCK_EX)
            fails(errno.EAGAIN, fcntl.flock, other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
            os.truncate(name, 3)
            assert os.fstat(file).st_size == 3 and other.seek(0, os.SEEK_END) == 3
        os.chmod(name, 0o751), os.setxattr(name, "user.kept", b"yes")
        assert os.fstat(file).st_mode & 0o777 == 0o751 and os.getxattr(file, "user.kept") == b"yes"
        os.fchmod(file, 0o640)
        assert os.stat(name).st_mode & 0o777 == 0o640
        mapping.close()
        # A name like any other.
        os.link(name, "second"), give_name(file, "third")
        assert os.fstat(file).st_nlink == 3
        os.rename(name, "moved"), os.remove("second"), os.remove("third")
        assert os.stat("moved").st_ino == mine.st_ino and os.fstat(file).st_nlink == 1
        os.close(file)
        assert open("moved", "rb").read() == b"UnN"
        file = os.open("moved", os.O_RDWR)
        os.remove("moved")
        os.write(file, b"u")
        assert os.fstat(file).st_nlink == 0 and os.pread(file, 3, 0) == b"unN"
        fails(errno.ENOENT, give_name, file, "moved", by_descriptor)
        file = unnamed(os.O_RDWR | os.O_EXCL)
        os.write(file, b"never")
        fails(errno.ENOENT, give_name, file, "never", by_descriptor)
    # After all names are gone there is none again.
    file = unnamed()
    give_name(file, "once"), os.remove("once")
    fails(errno.ENOENT, give_name, file, "twice")
    os.write(file, b"still")
    assert os.pread(file, 5, 0) == b"still"
    # Whole, or not there at all.
    file = unnamed(mode=0o755)
    os.write(file, b"#!/bin/sh\necho ran\n")
    give_name(file, "program"), os.close(file)
    assert os.popen("./program").read() == "ran\n"


@case
def unnamed_files_have_owners():
    os.chmod(".", 0o777)
    file = unnamed(mode=0o4711)
    os.fchown(file, 123, 456)
    status = os.fstat(file)
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o711, 123, 456)

    def mine():
        file = unnamed()
        os.write(file, b"mine")
        give_name(file, "mine")
        status = os.fstat(file)
        assert (status.st_uid, status.st_gid) == (NOBODY, NOBODY), status
        os.fchmod(file, 0o644)
        fails(errno.EPERM, os.fchown, file, 0, 0)

    as_user(mine)
    status = os.stat("mine")
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (NOBODY, NOBODY, 0o644)
    os.mkdir("shut", 0o755)
    as_user(lambda: fails(errno.EACCES, unnamed, place="shut"))
    # A group of the program's that is not its first.
    os.mkdir("groups"), os.chown("groups", 0, 4321), os.chmod("groups", 0o2770)

    def in_group():
        file = unnamed(mode=0o660, place="groups")
        assert os.fstat(file).st_gid == 4321
        give_name(file, "groups/file")

    read, write = os.pipe()
    if os.fork() == 0:
        try:
            os.setgroups([4321]), os.setresgid(NOBODY, NOBODY, NOBODY), os.setresuid(NOBODY, NOBODY, NOBODY)
            in_group()
        except BaseException as error:
            os.write(write, repr(error).encode())
        os._exit(0)
    os.close(write)
    complaint = os.read(read, 4096)
    os.wait()
    assert not complaint, complaint.decode()
    assert (os.stat("groups/file").st_uid, os.stat("groups/file").st_gid) == (NOBODY, 4321)


@case
def unnamed_files_inherit_access_control_lists():
    nobody = 0xFFFFFFFF
    entries = [(1, 6, nobody), (2, 4, 1234), (4, 0, nobody), (16, 4, nobody), (32, 0, nobody)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(".", "system.posix_acl_default", value)
    file = unnamed(mode=0o666)
    assert os.getxattr(file, "system.posix_acl_access") == value
    assert os.fstat(file).st_mode & 0o777 == 0o640


@case
def unnamed_files_are_locked():
    file = unnamed()
    give_name(file, "file")
    ask = lambda kind: elsewhere(lambda: fcntl.lockf(os.open("file", os.O_RDWR), kind | fcntl.LOCK_NB, 10, 5))
    fcntl.lockf(file, fcntl.LOCK_EX, 10)
    assert ask(fcntl.LOCK_SH) == "EAGAIN"
    fcntl.lockf(file, fcntl.LOCK_UN, 10)
    assert ask(fcntl.LOCK_EX) == "taken"
    child = os.fork()
    if child == 0:
        fcntl.lockf(file, fcntl.LOCK_EX, 10)
        os._exit(0)
    os.waitpid(child, 0)
    assert ask(fcntl.LOCK_EX) == "taken", "locks go with their process"


@case
def unnamed_files_are_many():
    for _ in range(3):
        files = [unnamed() for _ in range(300)]
        for number, file in enumerate(files):
            os.write(file, str(number).encode())
        for number, file in enumerate(files):
            assert os.pread(file, 10, 0) == str(number).encode()
            give_name(file, str(number))
        assert len(os.listdir(".")) == 300
        assert all(open(str(number)).read() == str(number) for number in range(300))
        for number, file in enumerate(files):
            os.remove(str(number)), os.close(file)


@case
def unnamed_files_replace_others():
    """Writers publish whole versions, which readers see entirely or not at all."""
    make("current", b"0" * 5000)
    wrong = []

    def read():
        for _ in range(200):
            text = open("current", "rb").read()
            if len(text) != 5000 or len(set(text)) != 1:
                wrong.append(text)

    readers = [threading.Thread(target=read) for _ in range(3)]
    [reader.start() for reader in readers]
    for version in range(100):
        file = unnamed()
        os.write(file, bytes([48 + version % 10]) * 5000)
        give_name(file, "next"), os.close(file)
        os.rename("next", "current")
    [reader.join() for reader in readers]
    assert not wrong


def elsewhere(work):
    """In another process; its answer."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work()
            os.write(write, b"taken")
        except OSError as error:
            os.write(write, errno.errorcode[error.errno].encode())
        os._exit(0)
    os.close(write)
    answer = os.read(read, 100).decode()
    os.close(read)
    os.waitpid(child, 0)
    return answer


@case
def flock():
    make("file")
    mine = os.open("file", os.O_RDWR)
    fcntl.flock(mine, fcntl.LOCK_EX)
    ask = lambda kind: elsewhere(lambda: fcntl.flock(os.open("file", os.O_RDWR), kind | fcntl.LOCK_NB))
    assert ask(fcntl.LOCK_SH) == "EAGAIN"
    fcntl.flock(mine, fcntl.LOCK_SH)
    assert (ask(fcntl.LOCK_SH), ask(fcntl.LOCK_EX)) == ("taken", "EAGAIN")
    fcntl.flock(mine, fcntl.LOCK_UN)
    assert ask(fcntl.LOCK_EX) == "taken"
    fcntl.flock(os.open(".", os.O_RDONLY), fcntl.LOCK_EX)


@case
def record_locks():
    make("file", b"x" * 100)
    mine = os.open("file", os.O_RDWR)
    fcntl.lockf(mine, fcntl.LOCK_EX, 10, 20)

    def ask(kind, length, start):
        return elsewhere(lambda: fcntl.lockf(os.open("file", os.O_RDWR), kind | fcntl.LOCK_NB, length, start))

    assert ask(fcntl.LOCK_EX, 1, 25) in ("EAGAIN", "EACCES")
    assert ask(fcntl.LOCK_EX, 20, 0) == "taken"
    fcntl.lockf(mine, fcntl.LOCK_UN, 5, 20)
    assert (ask(fcntl.LOCK_EX, 5, 20), ask(fcntl.LOCK_EX, 5, 25)) == ("taken", "EAGAIN")
    os.close(os.open("file", os.O_RDONLY))
    assert ask(fcntl.LOCK_EX, 5, 25) == "taken", "closing any descriptor gives the locks back"


@case
def locks_of_open_files():
    make("file")
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    take = lambda file: fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
    mine = os.open("file", os.O_RDWR)
    take(mine)
    ask = lambda: elsewhere(lambda: take(os.open("file", os.O_RDWR)))
    os.close(os.open("file", os.O_RDONLY))
    assert ask() == "EAGAIN", "closing another open file gives no locks back"
    other = os.dup(mine)
    os.close(mine)
    assert ask() == "EAGAIN", "it is still open"
    os.close(other)
    assert (ask(), ask()) == ("taken", "taken"), "locks end with the open file"


def start(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


@case
def waiting_for_a_lock():
    make("file")
    read, write = os.pipe()

    def hold():
        fcntl.flock(os.open("file", os.O_RDWR), fcntl.LOCK_EX)
        os.write(write, b"x")
        time.sleep(0.3)

    child = start(hold)
    os.close(write)
    assert os.read(read, 1) == b"x", "it got no lock"
    begin = time.monotonic()
    fcntl.flock(os.open("file", os.O_RDWR), fcntl.LOCK_EX)
    assert time.monotonic() - begin > 0.2
    os.waitpid(child, 0)


@case
def waiting_for_a_lock_can_be_interrupted():
    make("file")
    mine = os.open("file", os.O_RDWR)
    fcntl.flock(mine, fcntl.LOCK_EX)
    child = start(lambda: fcntl.flock(os.open("file", os.O_RDWR), fcntl.LOCK_EX))
    time.sleep(0.2)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


@case
def directories_read_while_they_change():
    for number in range(500):
        make(f"f{number}")
    seen = set()
    with os.scandir(".") as entries:
        for index, entry in enumerate(entries):
            seen.add(entry.name)
            if index % 10 == 0:
                make(f"new{index}")
    assert {f"f{number}" for number in range(500)} <= seen
    for name in os.listdir("."):
        os.unlink(name)
    assert os.listdir(".") == []


@case
def directories_of_20000_entries():
    for number in range(20_000):
        os.symlink("x", f"entry-{number:06}")
    names = os.listdir(".")
    assert len(names) == len(set(names)) == 20_000
    for name in names:
        os.unlink(name)
    assert os.listdir(".") == []


@case
def deep_trees():
    for _ in range(100):
        os.mkdir("deep")
        os.chdir("deep")
    make("file", b"at the bottom")
    assert open("file", "rb").read() == b"at the bottom"


@case
def copying_within_the_kernel():
    make("a", bytes(range(256)) * 1024)
    with open("a", "rb") as source, open("b", "wb") as target:
        left = 256 * 1024
        while left:
            count = os.copy_file_range(source.fileno(), target.fileno(), left)
            assert count
            left -= count
    assert open("b", "rb").read() == open("a", "rb").read()


@case
def random_writes_are_read_back():
    chance = random.Random(1)
    model = bytearray(300_000)
    file = os.open("file", os.O_CREAT | os.O_RDWR)
    os.ftruncate(file, len(model))
    for _ in range(300):
        start, length = chance.randrange(len(model)), chance.randrange(20_000)
        block = chance.randbytes(min(length, len(model) - start))
        os.pwrite(file, block, start)
        model[start:start + len(block)] = block
        start = chance.randrange(len(model))
        assert os.pread(file, 9_000, start) == model[start:start + 9_000]
    assert open("file", "rb").read() == model


@case
def space_is_told():
    status = os.statvfs(".")
    assert status.f_blocks > 0 and status.f_bavail > 0 and status.f_namemax == 255


@case
def programs_run():
    with open("script", "w") as file:
        file.write("#!/bin/sh\necho ran $1\n")
    os.chmod("script", 0o755)
    assert os.popen("./script well").read() == "ran well\n"


def main():
    for place in sys.argv[1:]:
        for test in CASES:
            os.chdir(place)
            os.umask(0o022)
            directory = os.path.join(place, test.__name__)
            os.mkdir(directory)
            os.chdir(directory)
            try:
                test()
            except BaseException as error:
                print(place, test.__name__, f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
            os.umask(0o022)
    print("tried", len(CASES), "cases")


main()
