/**
 * The Lua scripts, one per operation and one for a batch of them, each one atomic step. A key has a lock `{p:KEY}:l` = "owner|fence" that expires,
 * and a counter `{p:KEY}:f` that outlives it; the server has one mark. Numbers are doubles in Lua, exact to 2^53.
 * Needs Redis 7 or Valkey: scripts that read TIME and write, and SET with GET.
 *
 * A lock may be a reservation, "r|ticket": no lock to anybody, held to all but one. The line `{p:KEY}:w` is a sorted set. A fence that is
 * written with a 0 in front is the same number, and says that somebody may stand in line: a release of any other lock looks at no line.
 *
 * Replies are one string, its first character the kind: g granted, h held, k kept for another in line, q quarantined, m another mark than the
 * client knows, r raised, e extended, c created anew, d released (deleted), n not owner or refused, x a counter that is broken, w a value that
 * is no lock under the key of one.
 */
import { createHash } from "node:crypto";
import { RESERVATION_MS } from "../shared/reservation.js";

/** A script and the name under which servers cache it. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}

function script(lua: string): Script {
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}

/** What the scripts of a deployment have in common. */
export interface ScriptFigures {
  /** For how long a counter is kept behind its last use, in ms. */
  readonly keepMs: number;
  /** Half-width of the window into which proposals are clamped, in microseconds. */
  readonly skewMicros: number;
}

/** The scripts that depend on the figures of the deployment, which stand in their text: nothing of it need be sent. */
export interface Scripts {
  /** KEYS lock counter [mark]; ARGV mark quarantinedUntil, ttlMs proposal owner|. */
  readonly acquire: Script;
  /** KEYS lock counter [mark]; ARGV mark quarantinedUntil, ttlMs proposal since waitsMs ticket owner|. */
  readonly wait: Script;
  /** KEYS lock counter [mark]; ARGV mark quarantinedUntil, token owner|fence. */
  readonly raise: Script;
  /** KEYS lock counter [mark]; ARGV mark quarantinedUntil, ttlMs token mayHeal owner|. */
  readonly extend: Script;
  /** KEYS lock; ARGV owner|. */
  readonly release: Script;
  /** KEYS lock; ARGV since waitsMs ticket owner|. As release, and the ticket is back in line before the next one is called. */
  readonly giveBack: Script;
  /**
   * Several operations in one call, each as it would be alone: KEYS mark, then lock and counter of each, of what releases the
   * lock only; ARGV mark quarantinedUntil, and one text with a line for each operation: its letter and its arguments, with a blank between two of them. Every
   * argument of its own would cost both sides more than what is in it. A release acts under any mark. What one of them raises stays with
   * it (pcall): the others go on, and its answer is ! with the text of the error. Answers one text, a line for each. A replica, which
   * has written nothing then, says so instead: clients look for the master when they hear it.
   */
  readonly batch: Script;
  /** KEYS lock counter; ARGV token. Answers the counter that is there afterwards. */
  readonly lift: Script;
}

/** The letters by which a batch tells its operations apart. */
export const BATCHED = {
  acquire: "a",
  wait: "t",
  raise: "r",
  extend: "e",
  release: "x",
  giveBack: "b",
} as const;

/** What is called most, so that it is looked up once. */
const LOCALS = `
local call, find, sub = redis.call, string.find, string.sub`;

/** Every operation but release compares the mark that the client knows; Redis Cluster has none (two keys). */
const COMPARE_MARK = `
if KEYS[3] and call('GET', KEYS[3]) ~= ARGV[1] then return 'm' end`;

/**
 * The end of the quarantine is the one that the mark states, in ms of this server's clock; 0 when there is none. The
 * clock is read once.
 */
const HEADER = `
local micros
local function now()
  if not micros then
    local t = call('TIME')
    micros = t[1] * 1000000 + t[2]
  end
  return micros
end
local quarantined
if ARGV[2] ~= '0' then
  local left = tonumber(ARGV[2]) - math.floor(now() / 1000)
  if left > 0 then quarantined = 'q' .. left end
end`;

/** A ticket stands in the line of a lock; both are advice. */
const STAND = `
local function stand(lock, ticket, since, waitsMs)
  local line = sub(lock, 1, -2) .. 'w'
  redis.pcall('ZADD', line, since, ticket)
  if redis.pcall('PEXPIRE', line, waitsMs, 'GT') == 0 and redis.pcall('PTTL', line) == -1 then
    redis.pcall('PEXPIRE', line, waitsMs)
  end
end`;

/**
 * A ticket for which the key was kept was taken out of the line then.
 *
 * The counter comes first, since a script that fails half-way is not undone. What is no number in its place is somebody
 * else's: it is put back, and must not expire. A fence that is the proposal need not be told. A text + 0 is its number, for half of what
 * tonumber takes.
 */
const acquireOne = ({ keepMs, skewMicros }: ScriptFigures): string => `
local function acquire(lock, counter, ttl, proposal, mine, ticket, since, waitsMs)
  if quarantined then return quarantined end
  local l = call('GET', lock)
  if l and l ~= 'r|' .. (ticket or '') then
    if find(l, mine, 1, true) == 1 then
      if ticket then redis.pcall('ZREM', sub(lock, 1, -2) .. 'w', ticket) end
      return 'g' .. sub(l, #mine + 1)
    end
    local bar = find(l, '|%d+$')
    if not bar then return 'w' end
    if ticket then
      stand(lock, ticket, since, waitsMs)
      if sub(l, bar + 1, bar + 1) ~= '0' then
        redis.pcall('SET', lock, sub(l, 1, bar) .. '0' .. sub(l, bar + 1), 'KEEPTTL')
      end
    end
    return (sub(l, 1, 2) == 'r|' and 'k' or 'h') .. call('PTTL', lock)
  end
  if ticket and not l then redis.pcall('ZREM', sub(lock, 1, -2) .. 'w', ticket) end
  local p, at, fence = proposal + 0, now(), proposal
  if p < at - ${skewMicros} then p, fence = at - ${skewMicros}, nil
  elseif p > at + ${skewMicros} then p, fence = at + ${skewMicros}, nil end
  fence = fence or string.format('%.0f', p)
  local old = call('SET', counter, fence, 'PX', '${keepMs}', 'GET')
  if old then
    local f = find(old, '^%d+$') and old + 0
    if not f then
      call('SET', counter, old)
      return 'x' .. old
    end
    if f >= 9007199254740990 then
      call('SET', counter, old, 'PX', '${keepMs}')
      return 'x' .. old
    end
    if f >= p then
      fence = string.format('%.0f', f + 1)
      call('SET', counter, fence, 'PX', '${keepMs}')
    end
  end
  call('SET', lock, mine .. (ticket and '0' or '') .. fence, 'PX', ttl)
  return fence == proposal and 'g' or 'g' .. fence
end`;

/** Sets the counter to at least the token; a broken counter ends the operation with x. */
const rememberOne = ({ keepMs }: ScriptFigures): string => `
local function remember(counter, token)
  local old = call('GET', counter)
  if old and not find(old, '^%d+$') then return 'x' .. old end
  if old and tonumber(old) >= tonumber(token) then call('PEXPIRE', counter, '${keepMs}')
  else call('SET', counter, token, 'PX', '${keepMs}') end
end`;

const RAISE_ONE = `
local function raise(lock, counter, token, ownerAndFence)
  local l = call('GET', lock)
  if not l or string.gsub(l, '|0(%d+)$', '|%1') ~= ownerAndFence then return 'n' end
  return remember(counter, token) or 'r'
end`;

const EXTEND_ONE = `
local function extend(lock, counter, ttl, token, mayHeal, mine)
  local l = call('GET', lock)
  if l and find(l, mine, 1, true) == 1 then
    local broken = remember(counter, token)
    if broken then return broken end
    if call('PTTL', lock) < tonumber(ttl) then call('PEXPIRE', lock, ttl) end
    return 'e'
  end
  if quarantined then return quarantined end
  if l or mayHeal ~= '1' then return 'n' end
  local broken = remember(counter, token)
  if broken then return broken end
  call('SET', lock, mine .. '0' .. call('GET', counter), 'PX', ttl)
  return 'c'
end`;

/**
 * What follows a lock: a reservation for the first in line, in the lock's own place, so that an acquire finds it with
 * the look that it takes anyway; or nothing. A ticket is "id|channel|0". The second in line hears when it may try. All of
 * the line by pcall: where it is forbidden, foreign or out of memory, a lock is freed all the same.
 */
const FREE_ONE = `
local function wake(ticket, inMs)
  local id, channel = string.match(ticket, '^(%d+)|(.*)|0$')
  if channel then redis.pcall('PUBLISH', channel, id .. ' ' .. inMs) end
end
local function free(lock)
  local line = sub(lock, 1, -2) .. 'w'
  local first = redis.pcall('ZPOPMIN', line)[1]
  if not first or redis.pcall('SET', lock, 'r|' .. first, 'PX', ${RESERVATION_MS}).err then
    call('DEL', lock)
    return
  end
  wake(first, 0)
  local second = redis.pcall('ZRANGE', line, 0, 0)[1]
  if second then wake(second, ${RESERVATION_MS}) end
end`;

/** Harmless under any mark, since an owner is used once. */
const RELEASE_ONE = `${FREE_ONE}
local function release(lock, mine, ticket, since, waitsMs)
  local l = call('GET', lock)
  if not l or find(l, mine, 1, true) ~= 1 then return 'n' end
  if ticket then stand(lock, ticket, since, waitsMs) end
  if ticket or sub(l, #mine + 1, #mine + 1) == '0' then free(lock) else call('DEL', lock) end
  return 'd'
end`;

/** One pcall for all operations that go well: behind one that raised the next one is begun, with its own line and keys. */
const BATCH_ALL = `
local known = call('GET', KEYS[1]) == ARGV[1]
local KEYS, text, match = KEYS, ARGV[3], string.match
local keys, at, answers, count = 1, 1, {}, 0
local function run()
  local stop = find(text, '\\n', at, true)
  while stop do
    local lock, counter, answer = KEYS[keys + 1], KEYS[keys + 2], 'm'
    local letter, from, to = sub(text, at, at), at + 1, stop - 1
    at, count = stop + 1, count + 1
    if letter == 'x' then
      keys = keys + 1
      answer = release(lock, sub(text, from, to))
    elseif letter == 'b' then
      keys = keys + 1
      local since, waitsMs, ticket, mine = match(sub(text, from, to), '^(%S+) (%S+) (%S+) (.*)$')
      answer = release(lock, mine, ticket, since, waitsMs)
    else
      keys = keys + 2
      if not known then
      elseif letter == 'a' then
        local ttl, proposal, last = match(text, '^(%S+) (%S+) ()', from)
        answer = acquire(lock, counter, ttl, proposal, sub(text, last, to))
      elseif letter == 't' then
        local ttl, proposal, since, waitsMs, ticket, mine =
          match(sub(text, from, to), '^(%S+) (%S+) (%S+) (%S+) (%S+) (.*)$')
        answer = acquire(lock, counter, ttl, proposal, mine, ticket, since, waitsMs)
      elseif letter == 'e' then
        local ttl, token, mayHeal, mine = match(sub(text, from, to), '^(%S+) (%S+) (%S+) (.*)$')
        answer = extend(lock, counter, ttl, token, mayHeal, mine)
      else
        local token, ownerAndFence = match(sub(text, from, to), '^(%S+) (.*)$')
        answer = raise(lock, counter, token, ownerAndFence)
      end
    end
    if #answer > 1 and find(answer, '\\n', 1, true) then answer = string.gsub(answer, '\\n', ' ') end
    answers[count] = answer
    stop = find(text, '\\n', at, true)
  end
end
repeat
  local done, raised = pcall(run)
  if not done then
    local why = type(raised) == 'table' and raised.err or tostring(raised)
    if sub(why, 1, 8) == 'READONLY' then return {err = why} end
    answers[count] = '!' .. string.gsub(why, '\\n', ' ')
  end
until done
return table.concat(answers, '\\n')`;

/** The scripts of a deployment. */
export function scriptsFor(figures: ScriptFigures): Scripts {
  const alone = `${LOCALS}${COMPARE_MARK}${HEADER}`;
  const acquireAll = `${alone}${STAND}${acquireOne(figures)}`;
  const remember = rememberOne(figures);
  return {
    acquire: script(`${acquireAll}
return acquire(KEYS[1], KEYS[2], ARGV[3], ARGV[4], ARGV[5])`),
    wait: script(`${acquireAll}
return acquire(KEYS[1], KEYS[2], ARGV[3], ARGV[4], ARGV[8], ARGV[7], ARGV[5], ARGV[6])`),
    raise: script(`${alone}${remember}${RAISE_ONE}
return raise(KEYS[1], KEYS[2], ARGV[3], ARGV[4])`),
    extend: script(`${alone}${remember}${EXTEND_ONE}
return extend(KEYS[1], KEYS[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])`),
    release: script(`${LOCALS}${RELEASE_ONE}
return release(KEYS[1], ARGV[1])`),
    giveBack: script(`${LOCALS}${STAND}${RELEASE_ONE}
return release(KEYS[1], ARGV[4], ARGV[3], ARGV[1], ARGV[2])`),
    batch: script(
      `${LOCALS}${HEADER}${STAND}${acquireOne(figures)}${remember}${RAISE_ONE}${EXTEND_ONE}${RELEASE_ONE}${BATCH_ALL}`,
    ),
    lift: script(`${LOCALS}${remember}
return remember(KEYS[2], ARGV[1]) or call('GET', KEYS[2])`),
  };
}

/** KEYS lock. What is no lock is not deleted. */
export const FORCE_RELEASE: Script = script(`${LOCALS}${FREE_ONE}
local l = call('GET', KEYS[1])
if not l or sub(l, 1, 2) == 'r|' then return '0' end
if not find(l, '|%d+$') then return 'w' end
free(KEYS[1])
return '1'`);

/** KEYS lock; ARGV ticket. A reservation that is given up goes to the next in line. */
export const LEAVE: Script = script(`${LOCALS}${FREE_ONE}
redis.pcall('ZREM', sub(KEYS[1], 1, -2) .. 'w', ARGV[1])
if call('GET', KEYS[1]) == 'r|' .. ARGV[1] then free(KEYS[1]) end
return 1`);

/** KEYS lock counter. */
export const INSPECT: Script = script(`
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[2])}`);

/** The server's clock in ms. */
const NOW_MS = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)`;

/** A mark: format, incarnation, backends, quorum, maxTtlMs, joined, end of quarantine. */
const READ_MARK = `
local raw = redis.call('GET', KEYS[1])
local inc, n, q, ttl, joined, till
if raw then
  inc, n, q, ttl, joined, till = string.match(raw, '^ql1 (%S+) (%d+) (%d+) (%d+) (%d) (%d+)$')
end
local function write(inc, n, q, ttl, joined, till)
  raw = table.concat({'ql1', inc, n, q, ttl, joined, string.format('%.0f', till)}, ' ')
  redis.call('SET', KEYS[1], raw)
end`;

/**
 * Reads the mark, and writes it where it is missing or of another memory. KEYS mark; ARGV guard backends quorum
 * maxTtlMs quarantineMs randomId. The guard is "volatile": a memory is one server process between two changes of its
 * replication history (run_id alone misses a failover and back) and between two flushes, which the random id tells
 * apart; or "durable" or "off": a memory is its mark. Returns the mark, the server's run_id and its clock in ms. A mark
 * of other figures, of another guard (the first letter of the incarnation) or of another format is left alone. The probe changes nothing, since a mark has no expiry; Redis 6
 * has no XX, and would grant locks that it cannot release.
 */
export const REGISTER: Script = script(`
local probe = redis.pcall('PEXPIRE', KEYS[1], 1, 'XX')
if type(probe) == 'table' and probe.err and string.find(probe.err, 'number of arg') then return {'old'} end
${READ_MARK}${NOW_MS}
local volatile = ARGV[1] == 'volatile'
local call = volatile and redis.call or redis.pcall
local server, replication = call('INFO', 'server'), call('INFO', 'replication')
local run = type(server) == 'string' and string.match(server, 'run_id:(%w+)') or ''
local history = type(replication) == 'string' and string.match(replication, 'master_replid:(%w+)') or ''
if volatile and (run == '' or history == '') then return {'blind'} end
local kind = string.sub(ARGV[1], 1, 1) .. '.'
local process = volatile and kind .. run .. '.' .. history .. '.' or kind
local till = ARGV[1] == 'off' and 0 or now + tonumber(ARGV[5])
if not raw then
  write(process .. ARGV[6], ARGV[2], ARGV[3], ARGV[4], '0', till)
elseif inc and string.sub(inc, 1, 2) == kind and string.sub(inc, 1, #process) ~= process and n == ARGV[2] and q == ARGV[3] and ttl == ARGV[4] then
  write(process .. ARGV[6], n, q, ttl, '1', till)
end
return {raw, run, string.format('%.0f', now)}`);

/** The start of what changes the mark: answers m where it is one of other figures or of another guard. */
const COMPARE_FIGURES = `${READ_MARK}
if inc and (string.sub(inc, 1, 1) ~= ARGV[2] or n ~= ARGV[3] or q ~= ARGV[4] or ttl ~= ARGV[5]) then return 'm' end`;

/** KEYS mark; ARGV incarnation guard backends quorum maxTtlMs. Changes nothing under another one. */
export const BOOTSTRAP: Script = script(`${COMPARE_FIGURES}
if inc == ARGV[1] then write(inc, n, q, ttl, joined, 0) end
return 'ok'`);

/** KEYS mark; ARGV incarnation guard backends quorum maxTtlMs. Changes nothing under another one. */
export const JOIN: Script = script(`${COMPARE_FIGURES}
if inc == ARGV[1] then write(inc, n, q, ttl, '1', tonumber(till)) end
return 'ok'`);

/**
 * KEYS mark; ARGV mark newId quarantineMs. The memory gets another name, as if it were new and had been joined. Answers m
 * under another mark than the client knows.
 */
export const QUARANTINE: Script = script(`${READ_MARK}${NOW_MS}
if raw ~= ARGV[1] then return 'm' end
write(string.gsub(inc, '[^.]*$', '') .. ARGV[2], n, q, ttl, '1', now + tonumber(ARGV[3]))
return 'ok'`);

/**
 * KEYS mark; ARGV commands to ask about, never run. Returns the server's clock in ms, what INFO says ("" where it may not
 * be asked), the mark, and for each command whether this user may run it. Runs on a replica too.
 */
export const EXAMINE: Script = script(`${NOW_MS}
local info = redis.pcall('INFO')
local mark = redis.pcall('GET', KEYS[1])
local rights = {}
for i, text in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
  local told, may = pcall(redis.acl_check_cmd, unpack(words))
  if told then rights[#rights + 1] = may and '1' or '0' end
end
return {string.format('%.0f', now), type(info) == 'string' and info or '', type(mark) == 'table' and '?' or mark, table.concat(rights)}`);
