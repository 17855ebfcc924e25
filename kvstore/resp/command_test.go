package resp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// A line is a command and its answer; they are executed in order on one
// connection. Keys in {a} and {b} are in slots 15495 and 3300.
func TestCommands(t *testing.T) {
	for name, script := range map[string]string{
		"values": `
			GET k              | nil
			SET k one          | +OK
			get k              | "one"
			STRLEN k           | :3
			STRLEN none        | :0
			TYPE k             | +string
			TYPE none          | +none
			APPEND k +two      | :7
			GETSET k three     | "one+two"
			GETSET other x     | nil
			GETDEL k           | "three"
			GETDEL k           | nil
			SETNX k 1          | :1
			SETNX k 2          | :0
			GET k              | "1"`,
		"SET": `
			SET k 1 NX         | +OK
			SET k 2 NX         | nil
			SET k 2 XX         | +OK
			SET n 2 XX         | nil
			SET k 3 GET        | "2"
			SET k 4 XX GET     | "3"
			SET n 1 GET        | nil
			SET k 4 xx get ex 10 | "4"
			TTL k              | :10
			SET k 5 KEEPTTL    | +OK
			TTL k              | :10
			SET k 6            | +OK
			TTL k              | :-1
			SET k 7 PX 1600    | +OK
			PTTL k             | :1600
			TTL k              | :2
			SET k 8 EXAT 1     | +OK
			GET k              | nil
			SET k 1 NX XX      | -ERR syntax error
			SET k 1 NX GET     | -ERR syntax error
			SET k 1 EX         | -ERR syntax error
			SET k 1 EX 1 PX 1  | -ERR syntax error
			SET k 1 EX 1 KEEPTTL | -ERR syntax error
			SET k 1 FOO        | -ERR syntax error
			SET k 1 EX 0       | -ERR invalid expire time in 'set' command
			SET k 1 EX -1      | -ERR invalid expire time in 'set' command
			SET k 1 EX x       | -ERR value is not an integer or out of range
			SET k 1 EX 9223372036854775807 | -ERR invalid expire time in 'set' command
			SET k 1 PX 9223372036854775807 | -ERR invalid expire time in 'set' command
			SETEX k 10 v       | +OK
			TTL k              | :10
			PSETEX k 10 v      | +OK
			PTTL k             | :10
			SETEX k 0 v        | -ERR invalid expire time in 'setex' command`,
		"expiry": `
			TTL k              | :-2
			PTTL k             | :-2
			EXPIRE k 10        | :0
			PERSIST k          | :0
			SET k v            | +OK
			PERSIST k          | :0
			EXPIRE k 10        | :1
			TTL k              | :10
			PEXPIRE k 1500     | :1
			PTTL k             | :1500
			PERSIST k          | :1
			TTL k              | :-1
			GETEX k            | "v"
			GETEX k EX 5       | "v"
			TTL k              | :5
			GETEX k PERSIST    | "v"
			TTL k              | :-1
			GETEX k FOO        | -ERR syntax error
			GETEX k EX 0       | -ERR invalid expire time in 'getex' command
			GETEX k EXAT 5     | "v"
			GET k              | nil
			GETEX k            | nil
			SET k v            | +OK
			EXPIREAT k 5       | :1
			EXPIREAT k 5       | :0
			SET k v            | +OK
			EXPIRE k -1        | :1
			GET k              | nil`,
		"numbers": `
			INCR n             | :1
			INCRBY n 41        | :42
			DECR n             | :41
			DECRBY n -9        | :50
			GET n              | "50"
			INCRBY n x         | -ERR value is not an integer or out of range
			INCRBY n 9223372036854775807 | -ERR increment or decrement would overflow
			DECRBY n -9223372036854775808 | -ERR decrement would overflow
			SET n x            | +OK
			INCR n             | -ERR value is not an integer or out of range`,
		"several keys": `
			MSET {a}1 x {a}2 y | +OK
			MGET {a}1 {a}3 {a}2 | ["x" nil "y"]
			EXISTS {a}1 {a}1 {a}3 | :2
			MSETNX {a}3 z {a}1 z | :0
			GET {a}3           | nil
			MSETNX {a}3 z {a}4 z {a}3 u | :1
			GET {a}3           | "u"
			DEL {a}1 {a}1 {a}9 | :1
			UNLINK {a}2        | :1
			EXISTS {a}1 {a}2   | :0
			MSET {a}1 x {b}1 y | -CROSSSLOT Keys in request don't hash to the same slot
			MGET {a}1 {b}1     | -CROSSSLOT Keys in request don't hash to the same slot
			MSET {a}1          | -ERR wrong number of arguments for 'mset' command
			MSET {a}1 x {a}2   | -ERR wrong number of arguments for 'mset' command`,
		"transactions": `
			EXEC               | -ERR EXEC without MULTI
			DISCARD            | -ERR DISCARD without MULTI
			MULTI              | +OK
			MULTI              | -ERR MULTI calls can not be nested
			INCR {a}n          | +QUEUED
			MGET {a}n {a}m     | +QUEUED
			GETSET {a}n x      | +QUEUED
			EXEC               | [:1 ["1" nil] "1"]
			MULTI              | +OK
			INCR {a}n          | +QUEUED
			SET {a}m y         | +QUEUED
			EXEC               | -ERR value is not an integer or out of range
			GET {a}m           | nil
			MULTI              | +OK
			SET {a}n 1         | +QUEUED
			DISCARD            | +OK
			GET {a}n           | "x"
			MULTI              | +OK
			EXEC               | []
			MULTI              | +OK
			SET {a}n 1         | +QUEUED
			SET {c}n 1         | -CROSSSLOT Keys in request don't hash to the same slot
			EXEC               | -EXECABORT Transaction discarded because of previous errors.
			MULTI              | +OK
			NONSENSE           | -ERR unknown command "NONSENSE"
			EXEC               | -EXECABORT Transaction discarded because of previous errors.
			MULTI              | +OK
			SET {a}n 1 NX      | -ERR conditions are not supported in a transaction: one that is not met would undo the whole of it
			SET                | -ERR wrong number of arguments for 'set' command
			PING               | -ERR 'ping' is not supported in a transaction
			WATCH {a}n         | -ERR WATCH is not supported
			EXEC               | -EXECABORT Transaction discarded because of previous errors.
			WATCH {a}n         | -ERR WATCH is not supported
			UNWATCH            | +OK
			GET {a}n           | "x"`,
		"controls": `
			PING               | +PONG
			PING hello         | "hello"
			PING a b           | -ERR wrong number of arguments for 'ping' command
			ECHO hello         | "hello"
			SELECT 0           | +OK
			SELECT 1           | -ERR SELECT is not allowed in cluster mode
			READONLY           | +OK
			READWRITE          | +OK
			CLIENT SETINFO LIB-NAME x | +OK
			CLIENT SETNAME me  | +OK
			CLIENT GETNAME     | "me"
			CLIENT ID          | :1
			CLIENT KILL        | -ERR unknown subcommand "KILL" of 'client'
			HELLO 3            | -NOPROTO unsupported protocol version
			HELLO 2 AUTH a b   | -ERR syntax error
			HELLO 2 SETNAME you | ["server" "redis" "version" "7.0.0" "proto" :2 "id" :1 "mode" "cluster" "role" "master" "modules" []]
			CLIENT GETNAME     | "you"
			COMMAND INFO get mset none | [["get" :2 [+readonly +fast] :1 :1 :1] ["mset" :-3 [+write +denyoom +fast] :1 :-1 :2] nil]
			COMMAND DOCS       | []
			COMMAND GETKEYS    | -ERR unknown subcommand "GETKEYS" of 'command'
			KEYS *             | -ERR unknown command "KEYS"
			LONGERTHANANYCOMMANDIS | -ERR unknown command "LONGERTHANANYCOMMANDIS"
			GET                | -ERR wrong number of arguments for 'get' command`,
		"cluster": `
			CLUSTER KEYSLOT {a}x | :15495
			CLUSTER MYID       | "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"
			CLUSTER SLOTS      | [[:0 :8191 ["10.0.0.1" :7001 "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"]] [:8192 :12287 ["10.0.0.2" :7002 "e9d71f5ee7c92d6dc9e92ffdad17b8bd49418f98"]]]
			CLUSTER FAILOVER   | -ERR unknown subcommand "FAILOVER" of 'cluster'`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range []*store{newStore(), slowStore(), coldStore(), unconfirmedStore()} {
				_, addr := serve(t, polledConns, s, nil)
				c := dial(t, addr)
				for line := range strings.Lines(strings.TrimSpace(script)) {
					command, answer, _ := strings.Cut(line, "|")
					c.want(strings.TrimSpace(command), strings.TrimSpace(answer))
				}
			}
		})
	}
}

func TestExpiryAtATime(t *testing.T) {
	_, addr := serve(t, polledConns, newStore(), nil)
	c := dial(t, addr)
	in := time.Now().Add(time.Hour)
	for _, command := range []string{
		fmt.Sprintf("SET k v EXAT %d", in.Unix()),
		fmt.Sprintf("SET k v PXAT %d", in.UnixMilli()),
		fmt.Sprintf("GETEX k EXAT %d", in.Unix()),
		fmt.Sprintf("EXPIREAT k %d", in.Unix()),
		fmt.Sprintf("PEXPIREAT k %d", in.UnixMilli()),
	} {
		c.send(command, "TTL k")
		c.receive()
		if got := c.receive(); got != ":3600" && got != ":3599" {
			t.Errorf("%s: %s seconds are left", command, got)
		}
	}
}

func TestErrorsOfTheStore(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{api.Errorf(api.CodeOutcomeUnknown, "nobody\nknows"), "-UNKNOWN nobody knows"},
		{api.Errorf(api.CodeUnavailable, "later"), "-CLUSTERDOWN later"},
		{api.ErrNotPrimary.With("primary", "b"), "-MOVED 12739 10.0.0.2:7002"},
		{api.ErrNotPrimary.With("primary", "mute"), "-CLUSTERDOWN the primary mute does not speak this protocol: set RESP_ADDR on all nodes"},
		{api.ErrNotPrimary.With("primary", "gone"), "-CLUSTERDOWN the primary gone does not speak this protocol: set RESP_ADDR on all nodes"},
		{api.Errorf(api.CodeForbidden, "no"), "-NOPERM no"},
		{api.Errorf(api.CodeUnauthenticated, "who"), "-NOAUTH who"},
		{fmt.Errorf("a bug"), "-UNKNOWN internal error: a bug"},
	} {
		s := newStore()
		s.failure = tc.err
		_, addr := serve(t, polledConns, s, nil)
		c := dial(t, addr)
		c.want("GET 1", strings.Replace(tc.want, "12739", fmt.Sprint(clusterkit.Slot("1")), 1))
		c.want("SET 1 v", strings.Replace(tc.want, "12739", fmt.Sprint(clusterkit.Slot("1")), 1))
	}
}

// A transaction learns when its first key is named that it belongs elsewhere.
func TestTransactionsOfAnotherPrimary(t *testing.T) {
	_, addr := serve(t, polledConns, newStore(), nil)
	c := dial(t, addr)
	key := "0"
	for n := 0; clusterkit.Slot(key)*4/clusterkit.MaxPartitions != 2; n++ {
		key = fmt.Sprint(n)
	}
	c.want("MULTI", "+OK")
	c.want("SET "+key+" v", fmt.Sprintf("-MOVED %d 10.0.0.2:7002", clusterkit.Slot(key)))
	c.want("EXEC", "-EXECABORT Transaction discarded because of previous errors.")
}

func TestClusterWithoutAMap(t *testing.T) {
	_, addr := serve(t, polledConns, newStore(), func(o *Options) { o.Map = func() *clusterkit.Map { return nil } })
	c := dial(t, addr)
	c.want("CLUSTER SLOTS", "[]")
	c.want("CLUSTER SHARDS", "[]")
	c.want("CLUSTER NODES", `""`)
	c.send("CLUSTER INFO")
	if got := c.receive(); !strings.Contains(got, "cluster_state:fail") {
		t.Errorf("CLUSTER INFO: %s", got)
	}
}

func TestClusterAsItIs(t *testing.T) {
	_, addr := serve(t, polledConns, newStore(), nil)
	c := dial(t, addr)
	for command, want := range map[string][]string{
		"CLUSTER NODES": {
			`86f7e437faa5a7fce15d1ddcb9eaeaea377667b8 10.0.0.1:7001@0 myself,master - 0 0 7 connected 0-8191\n`,
			`e9d71f5ee7c92d6dc9e92ffdad17b8bd49418f98 10.0.0.2:7002@0 master - 0 0 7 connected 8192-12287\n`,
		},
		"CLUSTER SHARDS": {`["slots" [:0 :8191] "nodes" [["id" "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8" "port" :7001 "ip" "10.0.0.1"`, `"health" "online"`},
		"CLUSTER INFO":   {"cluster_state:fail", "cluster_slots_assigned:12288", "cluster_known_nodes:3", "cluster_size:2"},
		"INFO":           {"redis_mode:cluster", "connected_clients:1"},
		"COMMAND":        {`["cluster" :-2`},
	} {
		c.send(command)
		got := c.receive()
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %s\nlacks %s", command, got, part)
			}
		}
	}
}

// Every slot belongs to the partition that the hash gives its keys to.
func TestSlotsOfPartitions(t *testing.T) {
	for _, count := range []int{1, 3, 16, 1000, slots} {
		next := 0
		for p := range count {
			for slot := firstSlot(p, count); slot < firstSlot(p+1, count); slot++ {
				if slot != next || slot*count/slots != p {
					t.Fatalf("of %d partitions, %d has slot %d", count, p, slot)
				}
				next++
			}
		}
		if next != slots {
			t.Fatalf("%d partitions have %d slots", count, next)
		}
	}
}
