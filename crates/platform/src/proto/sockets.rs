//! Helpers over sockets, cgroups and infrared receivers.

use super::row::protos;

protos! {
    SOCKETS:
    GET_SOCKET_COOKIE = get_socket_cookie(CTX) -> INTEGER;
    GET_SOCKET_COOKIE_PTR = get_socket_cookie(SOCK_OR_NULL) -> INTEGER;
    GET_SOCKET_UID = get_socket_uid(CTX) -> INTEGER;
    SETSOCKOPT = setsockopt(SOCK, ANY, ANY, IN, SIZE) -> INTEGER;
    SETSOCKOPT_CTX = setsockopt(CTX, ANY, ANY, IN, SIZE) -> INTEGER;
    SOCK_MAP_UPDATE = sock_map_update(CTX, MAP, KEY, ANY) -> INTEGER, PKT_ACCESS;
    GETSOCKOPT = getsockopt(SOCK, ANY, ANY, OUT, SIZE) -> INTEGER;
    GETSOCKOPT_CTX = getsockopt(CTX, ANY, ANY, OUT, SIZE) -> INTEGER;
    SOCK_OPS_CB_FLAGS_SET = sock_ops_cb_flags_set(CTX, ANY) -> INTEGER;
    BIND = bind(CTX, IN, SIZE) -> INTEGER;
    SOCK_HASH_UPDATE = sock_hash_update(CTX, MAP, KEY, ANY) -> INTEGER, PKT_ACCESS;
    RC_REPEAT = rc_repeat(CTX) -> INTEGER, GPL_ONLY;
    RC_KEYDOWN = rc_keydown(CTX, ANY, ANY, ANY) -> INTEGER, GPL_ONLY;
    GET_LOCAL_STORAGE = get_local_storage(MAP, ANY) -> VALUE;
    SK_SELECT_REUSEPORT = sk_select_reuseport(CTX, MAP, KEY, ANY) -> INTEGER;
    SK_LOOKUP_TCP = sk_lookup_tcp(CTX, IN, SIZE0, ANY, ANY)
        -> SOCKET_OR_NULL, PKT_ACCESS | ACQUIRES;
    SK_LOOKUP_TCP_SOCK_ADDR = sk_lookup_tcp(CTX, IN, SIZE0, ANY, ANY) -> SOCKET_OR_NULL, ACQUIRES;
    SK_LOOKUP_UDP = sk_lookup_udp(CTX, IN, SIZE0, ANY, ANY)
        -> SOCKET_OR_NULL, PKT_ACCESS | ACQUIRES;
    SK_LOOKUP_UDP_SOCK_ADDR = sk_lookup_udp(CTX, IN, SIZE0, ANY, ANY) -> SOCKET_OR_NULL, ACQUIRES;
    SK_RELEASE = sk_release(SOCK_RELEASE) -> INTEGER;
    RC_POINTER_REL = rc_pointer_rel(CTX, ANY, ANY) -> INTEGER, GPL_ONLY;
    SK_FULLSOCK = sk_fullsock(SOCK_COMMON) -> SOCKET_OR_NULL, CASTS;
    TCP_SOCK = tcp_sock(SOCK_COMMON) -> TCP_SOCK_OR_NULL, CASTS;
    GET_LISTENER_SOCK = get_listener_sock(SOCK_COMMON) -> SOCKET_OR_NULL;
    SKC_LOOKUP_TCP = skc_lookup_tcp(CTX, IN, SIZE0, ANY, ANY)
        -> SOCK_COMMON_OR_NULL, PKT_ACCESS | ACQUIRES;
    SKC_LOOKUP_TCP_SOCK_ADDR = skc_lookup_tcp(CTX, IN, SIZE0, ANY, ANY)
        -> SOCK_COMMON_OR_NULL, ACQUIRES;
    TCP_CHECK_SYNCOOKIE = tcp_check_syncookie(SOCK, IN, SIZE, IN, SIZE)
        -> INTEGER, GPL_ONLY | PKT_ACCESS;
    SYSCTL_GET_NAME = sysctl_get_name(CTX, IN_OUT, SIZE, ANY) -> INTEGER;
    SYSCTL_GET_CURRENT_VALUE = sysctl_get_current_value(CTX, OUT, SIZE) -> INTEGER;
    SYSCTL_GET_NEW_VALUE = sysctl_get_new_value(CTX, OUT, SIZE) -> INTEGER;
    SYSCTL_SET_NEW_VALUE = sysctl_set_new_value(CTX, IN, SIZE) -> INTEGER;
    SK_STORAGE_GET = sk_storage_get(MAP, SOCK, VALUE_OR_NULL, ANY) -> VALUE_OR_NULL;
    SK_STORAGE_GET_TRACING = sk_storage_get(MAP, btf_or_null("sock_common"), VALUE_OR_NULL, ANY)
        -> VALUE_OR_NULL, NOT_IN_STORAGE;
    SK_STORAGE_GET_CGROUP_SOCK = sk_storage_get(MAP, CTX, VALUE_OR_NULL, ANY) -> VALUE_OR_NULL;
    SK_STORAGE_DELETE = sk_storage_delete(MAP, SOCK) -> INTEGER;
    SK_STORAGE_DELETE_TRACING = sk_storage_delete(MAP, btf_or_null("sock_common"))
        -> INTEGER, NOT_IN_STORAGE;
    TCP_GEN_SYNCOOKIE = tcp_gen_syncookie(SOCK, IN, SIZE, IN, SIZE)
        -> INTEGER, GPL_ONLY | PKT_ACCESS;
    TCP_SEND_ACK = tcp_send_ack(btf("tcp_sock"), ANY) -> INTEGER;
    GET_NETNS_COOKIE = get_netns_cookie(CTX_OR_NULL) -> INTEGER;
    SK_ASSIGN = sk_assign(CTX, SOCK, ANY) -> INTEGER;
    SK_ASSIGN_LOOKUP = sk_assign(CTX, SOCKET_OR_NULL, ANY) -> INTEGER;
    SK_CGROUP_ID = sk_cgroup_id(SOCK) -> INTEGER;
    SK_ANCESTOR_CGROUP_ID = sk_ancestor_cgroup_id(SOCK, ANY) -> INTEGER;
    SKC_TO_TCP6_SOCK = skc_to_tcp6_sock(SOCK) -> btf_or_null("tcp6_sock"), CASTS;
    SKC_TO_TCP_SOCK = skc_to_tcp_sock(SOCK) -> btf_or_null("tcp_sock"), CASTS;
    SKC_TO_TCP_TIMEWAIT_SOCK = skc_to_tcp_timewait_sock(SOCK)
        -> btf_or_null("tcp_timewait_sock"), CASTS;
    SKC_TO_TCP_REQUEST_SOCK = skc_to_tcp_request_sock(SOCK)
        -> btf_or_null("tcp_request_sock"), CASTS;
    SKC_TO_UDP6_SOCK = skc_to_udp6_sock(SOCK) -> btf_or_null("udp6_sock"), CASTS;
    LOAD_HDR_OPT = load_hdr_opt(CTX, IN_OUT, SIZE, ANY) -> INTEGER;
    STORE_HDR_OPT = store_hdr_opt(CTX, IN, SIZE, ANY) -> INTEGER, CHANGES_PACKET;
    RESERVE_HDR_OPT = reserve_hdr_opt(CTX, ANY, ANY) -> INTEGER;
    SOCK_FROM_FILE = sock_from_file(btf("file")) -> btf_or_null("socket");
    SKC_TO_UNIX_SOCK = skc_to_unix_sock(SOCK) -> btf_or_null("unix_sock");
    GET_RETVAL = get_retval() -> INTEGER;
    SET_RETVAL = set_retval(ANY) -> INTEGER;
    SKC_TO_MPTCP_SOCK = skc_to_mptcp_sock(SOCK_COMMON) -> btf_or_null("mptcp_sock"), CASTS;
}
