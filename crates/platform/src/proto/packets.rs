//! Helpers over packets and messages.

use super::row::protos;

protos! {
    PACKETS:
    SKB_STORE_BYTES = skb_store_bytes(CTX, ANY, IN, SIZE, ANY) -> INTEGER, CHANGES_PACKET;
    L3_CSUM_REPLACE = l3_csum_replace(CTX, ANY, ANY, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    L4_CSUM_REPLACE = l4_csum_replace(CTX, ANY, ANY, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    CLONE_REDIRECT = clone_redirect(CTX, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    GET_CGROUP_CLASSID = get_cgroup_classid(CTX) -> INTEGER;
    GET_CGROUP_CLASSID_CURRENT = get_cgroup_classid() -> INTEGER;
    SKB_VLAN_PUSH = skb_vlan_push(CTX, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    SKB_VLAN_POP = skb_vlan_pop(CTX) -> INTEGER, CHANGES_PACKET;
    SKB_GET_TUNNEL_KEY = skb_get_tunnel_key(CTX, OUT, SIZE, ANY) -> INTEGER;
    SKB_SET_TUNNEL_KEY = skb_set_tunnel_key(CTX, IN, SIZE, ANY) -> INTEGER;
    REDIRECT = redirect(ANY, ANY) -> INTEGER;
    GET_ROUTE_REALM = get_route_realm(CTX) -> INTEGER;
    SKB_LOAD_BYTES = skb_load_bytes(CTX, ANY, OUT, SIZE) -> INTEGER;
    CSUM_DIFF = csum_diff(IN_OR_NULL, SIZE0, IN_OR_NULL, SIZE0, ANY) -> INTEGER, PKT_ACCESS;
    SKB_GET_TUNNEL_OPT = skb_get_tunnel_opt(CTX, OUT, SIZE) -> INTEGER;
    SKB_SET_TUNNEL_OPT = skb_set_tunnel_opt(CTX, IN, SIZE) -> INTEGER;
    SKB_CHANGE_PROTO = skb_change_proto(CTX, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    SKB_CHANGE_TYPE = skb_change_type(CTX, ANY) -> INTEGER;
    SKB_UNDER_CGROUP = skb_under_cgroup(CTX, MAP, ANY) -> INTEGER;
    GET_HASH_RECALC = get_hash_recalc(CTX) -> INTEGER;
    SKB_CHANGE_TAIL = skb_change_tail(CTX, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    SKB_PULL_DATA = skb_pull_data(CTX, ANY) -> INTEGER, CHANGES_PACKET;
    CSUM_UPDATE = csum_update(CTX, ANY) -> INTEGER;
    SET_HASH_INVALID = set_hash_invalid(CTX) -> INTEGER;
    SKB_CHANGE_HEAD = skb_change_head(CTX, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    XDP_ADJUST_HEAD = xdp_adjust_head(CTX, ANY) -> INTEGER, CHANGES_PACKET;
    SET_HASH = set_hash(CTX, ANY) -> INTEGER;
    SKB_ADJUST_ROOM = skb_adjust_room(CTX, ANY, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    REDIRECT_MAP = redirect_map(MAP, ANY, ANY) -> INTEGER;
    SK_REDIRECT_MAP = sk_redirect_map(CTX, MAP, ANY, ANY) -> INTEGER;
    XDP_ADJUST_META = xdp_adjust_meta(CTX, ANY) -> INTEGER, CHANGES_PACKET;
    MSG_REDIRECT_MAP = msg_redirect_map(CTX, MAP, ANY, ANY) -> INTEGER;
    MSG_APPLY_BYTES = msg_apply_bytes(CTX, ANY) -> INTEGER;
    MSG_CORK_BYTES = msg_cork_bytes(CTX, ANY) -> INTEGER;
    MSG_PULL_DATA = msg_pull_data(CTX, ANY, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    XDP_ADJUST_TAIL = xdp_adjust_tail(CTX, ANY) -> INTEGER, CHANGES_PACKET;
    SKB_GET_XFRM_STATE = skb_get_xfrm_state(CTX, ANY, OUT, SIZE, ANY) -> INTEGER;
    SKB_LOAD_BYTES_RELATIVE = skb_load_bytes_relative(CTX, ANY, OUT, SIZE, ANY) -> INTEGER;
    FIB_LOOKUP = fib_lookup(CTX, IN_OUT, SIZE, ANY) -> INTEGER, GPL_ONLY;
    MSG_REDIRECT_HASH = msg_redirect_hash(CTX, MAP, KEY, ANY) -> INTEGER;
    SK_REDIRECT_HASH = sk_redirect_hash(CTX, MAP, KEY, ANY) -> INTEGER;
    LWT_PUSH_ENCAP = lwt_push_encap(CTX, ANY, IN, SIZE) -> INTEGER, CHANGES_PACKET;
    LWT_SEG6_STORE_BYTES = lwt_seg6_store_bytes(CTX, ANY, IN, SIZE) -> INTEGER, CHANGES_PACKET;
    LWT_SEG6_ADJUST_SRH = lwt_seg6_adjust_srh(CTX, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    LWT_SEG6_ACTION = lwt_seg6_action(CTX, ANY, IN, SIZE) -> INTEGER, CHANGES_PACKET;
    SKB_CGROUP_ID = skb_cgroup_id(CTX) -> INTEGER;
    SKB_ANCESTOR_CGROUP_ID = skb_ancestor_cgroup_id(CTX, ANY) -> INTEGER;
    MSG_PUSH_DATA = msg_push_data(CTX, ANY, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    MSG_POP_DATA = msg_pop_data(CTX, ANY, ANY, ANY) -> INTEGER, CHANGES_PACKET;
    SKB_ECN_SET_CE = skb_ecn_set_ce(CTX) -> INTEGER;
    SKB_OUTPUT = skb_output(btf("sk_buff"), MAP, ANY, IN, SIZE0) -> INTEGER, GPL_ONLY;
    XDP_OUTPUT = xdp_output(btf("xdp_buff"), MAP, ANY, IN, SIZE0) -> INTEGER, GPL_ONLY;
    CSUM_LEVEL = csum_level(CTX, ANY) -> INTEGER;
    SKB_CGROUP_CLASSID = skb_cgroup_classid(CTX) -> INTEGER;
    REDIRECT_NEIGH = redirect_neigh(ANY, IN_OR_NULL, SIZE0, ANY) -> INTEGER;
    REDIRECT_PEER = redirect_peer(ANY, ANY) -> INTEGER;
    CHECK_MTU = check_mtu(CTX, ANY, fixed_in_out(4), ANY, ANY) -> INTEGER, GPL_ONLY;
    XDP_GET_BUFF_LEN = xdp_get_buff_len(CTX) -> INTEGER;
    XDP_GET_BUFF_LEN_TRACING = xdp_get_buff_len(btf("xdp_buff")) -> INTEGER;
    XDP_LOAD_BYTES = xdp_load_bytes(CTX, ANY, OUT, SIZE) -> INTEGER;
    XDP_STORE_BYTES = xdp_store_bytes(CTX, ANY, IN, SIZE) -> INTEGER;
    SKB_SET_TSTAMP = skb_set_tstamp(CTX, ANY, ANY) -> INTEGER;
    TCP_RAW_GEN_SYNCOOKIE_IPV4 = tcp_raw_gen_syncookie_ipv4(fixed_in(20), IN, SIZE0)
        -> INTEGER, GPL_ONLY | PKT_ACCESS;
    TCP_RAW_GEN_SYNCOOKIE_IPV6 = tcp_raw_gen_syncookie_ipv6(fixed_in(40), IN, SIZE0)
        -> INTEGER, GPL_ONLY | PKT_ACCESS;
    TCP_RAW_CHECK_SYNCOOKIE_IPV4 = tcp_raw_check_syncookie_ipv4(fixed_in(20), fixed_in(20))
        -> INTEGER, GPL_ONLY | PKT_ACCESS;
    TCP_RAW_CHECK_SYNCOOKIE_IPV6 = tcp_raw_check_syncookie_ipv6(fixed_in(40), fixed_in(20))
        -> INTEGER, GPL_ONLY | PKT_ACCESS;
}
