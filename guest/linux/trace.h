/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM meanwhile

#if !defined(MW_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define MW_TRACE_H

#include <linux/tracepoint.h>

/* A page was not present, and its task sleeps. */
TRACE_EVENT(mw_park,
	TP_PROTO(u64 token, bool user),
	TP_ARGS(token, user),
	TP_STRUCT__entry(__field(u64, token) __field(bool, user)),
	TP_fast_assign(__entry->token = token; __entry->user = user;),
	TP_printk("token %llx from %s", __entry->token, __entry->user ? "user" : "kernel")
);

/* The task goes on. */
TRACE_EVENT(mw_resume,
	TP_PROTO(u64 token, u32 status),
	TP_ARGS(token, status),
	TP_STRUCT__entry(__field(u64, token) __field(u32, status)),
	TP_fast_assign(__entry->token = token; __entry->status = status;),
	TP_printk("token %llx status %u", __entry->token, __entry->status)
);

/* A page was not present, and its CPU waits in the hypervisor. */
TRACE_EVENT(mw_wait,
	TP_PROTO(u64 token, bool alone),
	TP_ARGS(token, alone),
	TP_STRUCT__entry(__field(u64, token) __field(bool, alone)),
	TP_fast_assign(__entry->token = token; __entry->alone = alone;),
	TP_printk("token %llx: %s", __entry->token, __entry->alone ? "nothing else to run" : "must not sleep")
);

/* An entry of the ring. */
TRACE_EVENT(mw_event,
	TP_PROTO(u64 token, u32 status),
	TP_ARGS(token, status),
	TP_STRUCT__entry(__field(u64, token) __field(u32, status)),
	TP_fast_assign(__entry->token = token; __entry->status = status;),
	TP_printk("token %llx status %u", __entry->token, __entry->status)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
