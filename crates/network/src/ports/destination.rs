//! The address of the host that a datagram was sent to: the answer must come from there, or the peer does
//! not know it. ip(7), ipv6(7).

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

/// Room for one control message of either family, aligned as its header.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Has the kernel tell the destinations of a socket that is bound to all addresses.
pub(super) fn tell(socket: BorrowedFd<'_>, is_ipv4: bool) -> io::Result<()> {
    let (level, option) = match is_ipv4 {
        true => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        false => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: i32 = 1;
    // SAFETY: `on` is readable for its size.
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length_of::<i32>()?)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Length of a datagram, who sent it, and to which address of the host if that was told.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero bytes are valid values of these C structures.
    let (mut name, mut header): (libc::sockaddr_storage, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
    let mut control = Control([0; 64]);
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = length_of::<libc::sockaddr_storage>()?;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    // SAFETY: everything that the header points to is writable for the lengths that it says.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let peer = decode(&name).ok_or(io::ErrorKind::InvalidData)?;
    let mut destination = None;
    // SAFETY: the header is as the kernel left it, and the messages lie in `control`.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(one) = message.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (one.cmsg_level, one.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let information: libc::in_pktinfo = data.cast::<libc::in_pktinfo>().read_unaligned();
                    destination =
                        Some(Ipv4Addr::from_bits(u32::from_be(information.ipi_spec_dst.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let information: libc::in6_pktinfo = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    destination = Some(Ipv6Addr::from(information.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Ok((length, peer, destination))
}

/// Sends a datagram from this address of the host.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    datagram: &[u8],
    peer: SocketAddr,
    from: Option<IpAddr>,
) -> io::Result<()> {
    let mut part = libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
    let (mut name, name_length) = encode(peer)?;
    let mut control = Control([0; 64]);
    // SAFETY: all-zero bytes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = name_length;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = null_mut();
    // SAFETY: one message fits into `control`, with room to spare, and that is where it is written.
    unsafe {
        match from {
            None => {}
            Some(IpAddr::V4(address)) => {
                let mut information: libc::in_pktinfo = zeroed();
                information.ipi_spec_dst.s_addr = address.to_bits().to_be();
                put(&mut header, &mut control, (libc::IPPROTO_IP, libc::IP_PKTINFO), information)?;
            }
            Some(IpAddr::V6(address)) => {
                let mut information: libc::in6_pktinfo = zeroed();
                information.ipi6_addr.s6_addr = address.octets();
                put(&mut header, &mut control, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), information)?;
            }
        }
        if libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// # Safety
/// `T` is plain data that fits into `control`, which outlives the header.
unsafe fn put<T>(
    header: &mut libc::msghdr,
    control: &mut Control,
    (level, kind): (i32, i32),
    value: T,
) -> io::Result<()> {
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: the caller's promise; CMSG_SPACE only computes.
    unsafe {
        header.msg_controllen =
            usize::try_from(libc::CMSG_SPACE(length_of::<T>()?)).map_err(io::Error::other)?;
        let message = libc::CMSG_FIRSTHDR(&raw const *header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = usize::try_from(libc::CMSG_LEN(length_of::<T>()?)).map_err(io::Error::other)?;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
    }
    Ok(())
}

fn length_of<T>() -> io::Result<u32> {
    u32::try_from(size_of::<T>()).map_err(io::Error::other)
}

fn decode(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what it is, and the storage is large and aligned enough for all.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(address, port, name.sin6_flowinfo, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn encode(address: SocketAddr) -> io::Result<(libc::sockaddr_storage, u32)> {
    // SAFETY: all-zero bytes are a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let family = |number: i32| u16::try_from(number).map_err(io::Error::other);
    let length = match address {
        SocketAddr::V4(address) => {
            // SAFETY: the storage is large and aligned enough for all.
            let name = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            name.sin_family = family(libc::AF_INET)?;
            name.sin_port = address.port().to_be();
            name.sin_addr.s_addr = address.ip().to_bits().to_be();
            length_of::<libc::sockaddr_in>()?
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above.
            let name = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            name.sin6_family = family(libc::AF_INET6)?;
            name.sin6_port = address.port().to_be();
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_scope_id = address.scope_id();
            length_of::<libc::sockaddr_in6>()?
        }
    };
    Ok((storage, length))
}
