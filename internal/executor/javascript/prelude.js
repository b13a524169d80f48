// What scripts find beside the language: a part of what node has. The function
// gets the doors to the host and returns what the host calls.
(function (host) {
  'use strict';
  const missing = (what, instead) => new Error(`${what} is not there in Downbeat's own JavaScript engine: ${instead}`);
  const useNode = 'run the script with Node.js (put node on Downbeat\'s PATH)';
  const define = (object, all) => {
    for (const key of Reflect.ownKeys(all)) {
      Object.defineProperty(object, key, { ...Object.getOwnPropertyDescriptor(all, key), enumerable: false, configurable: true });
    }
  };

  // ---- values as text, as console.log of node shows them ----
  const breakLength = 80, compact = 3, maxItems = 100, maxDepth = 2;
  const identifier = /^[a-zA-Z_][a-zA-Z_0-9]*$/;
  const typedArray = Object.getPrototypeOf(Uint8Array);
  const escapes = { '\b': '\\b', '\t': '\\t', '\n': '\\n', '\f': '\\f', '\r': '\\r', '\\': '\\\\' };
  const quote = (s) => {
    let q = "'";
    if (s.includes("'")) {
      if (!s.includes('"')) q = '"';
      else if (!s.includes('`') && !s.includes('${')) q = '`';
    }
    const plain = s.replace(/[\x00-\x1f\x7f-\x9f'"`\\]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, (c) => {
      if (c === q) return '\\' + c;
      if (c === "'" || c === '"' || c === '`') return c;
      const code = c.charCodeAt(0);
      return escapes[c] || (code < 256 ? '\\x' + code.toString(16).toUpperCase().padStart(2, '0') : '\\u' + code.toString(16).toUpperCase());
    });
    return q + plain + q;
  };
  const primitive = (ctx, v) => {
    if (typeof v === 'string') {
      let rest = '';
      if (v.length > 10000) {
        const n = v.length - 10000;
        rest = `... ${n} more character${n > 1 ? 's' : ''}`;
        v = v.slice(0, 10000);
      }
      if (v.length > 16 && v.length > breakLength - ctx.indent - 4) {
        return v.split(/(?<=\n)/).map(quote).join(` +\n${' '.repeat(ctx.indent + 2)}`) + rest;
      }
      return quote(v) + rest;
    }
    if (typeof v === 'bigint') return v + 'n';
    return Object.is(v, -0) ? '-0' : String(v);
  };
  const constructorName = (v) => {
    for (let o = v; o; o = Object.getPrototypeOf(o)) {
      const d = Object.getOwnPropertyDescriptor(o, 'constructor');
      if (d && typeof d.value === 'function' && d.value.name !== '') return d.value.name;
    }
    return null;
  };
  const prefix = (name, tag, fallback, size = '') => {
    const more = tag && tag !== name ? `[${tag}] ` : '';
    return name === null ? `[${fallback}${size}: null prototype] ${more}` : `${name}${size} ${more}`;
  };
  const functionBase = (v, name, tag) => {
    const text = Function.prototype.toString.call(v);
    if (text.startsWith('class') && text.endsWith('}')) {
      const parent = Object.getPrototypeOf(v);
      return `[class ${v.name || '(anonymous)'}${parent && parent.name ? ` extends ${parent.name}` : ''}]`;
    }
    const kind = name === null ? 'Function' : name;
    return `[${kind}${v.name ? `: ${v.name}` : ' (anonymous)'}]` + (name === null ? ' [null prototype]' : '');
  };
  const errorText = (v) => {
    let name = 'Error', message = '', stack = '';
    try { name = String(v.name ?? v.constructor?.name ?? 'Error'); message = String(v.message ?? ''); } catch { /* a getter that throws */ }
    try { stack = typeof v.stack === 'string' ? v.stack : ''; } catch { /* as above */ }
    const head = message ? (name ? `${name}: ${message}` : message) : name;
    return stack.trim() ? `${head}\n${frames(stack)}` : `[${head}]`;
  };
  // frames are the lines of a stack that belong to the script: this file has
  // line numbers that no script has. What stands before the script on its first
  // line does not count.
  let shift = 0;
  const frames = (stack) => stack.split('\n').flatMap((line) => {
    if (!line.trim() || line.trim() === 'at call (native)') return [];
    const at = /<(?:eval\w*|input)>:(\d+):(\d+)/.exec(line);
    if (at && Number(at[1]) >= host.line) return [];
    return [at ? line.replace(at[0], `${host.file}:${at[1]}:${at[1] === '1' ? at[2] - shift : at[2]}`) : line];
  }).join('\n');
  const reduce = (ctx, output, base, open, close, array, depth, value) => {
    const entries = output.length;
    if (array && entries > 6) output = group(ctx, output, value);
    const start = base ? `${base} ` : '';
    if (ctx.depth - depth < compact && entries === output.length) {
      let total = output.length * 2 + ctx.indent + open.length + base.length + 10;
      if (total <= breakLength) {
        for (const s of output) total += s.length;
        const joined = output.join(', ');
        if (total <= breakLength && !base.includes('\n') && !joined.includes('\n')) return `${start}${open} ${joined} ${close}`;
      }
    }
    const line = `\n${' '.repeat(ctx.indent)}`;
    return `${start}${open}${line}  ${output.join(`,${line}  `)}${line}${close}`;
  };
  const group = (ctx, output, value) => {
    let total = 0, longest = 0;
    const count = value.length > maxItems ? output.length - 1 : output.length;
    const widths = [];
    for (let i = 0; i < count; i++) {
      widths[i] = [...output[i]].length;
      total += widths[i] + 2;
      longest = Math.max(longest, widths[i]);
    }
    const max = longest + 2;
    if (max * 3 + ctx.indent >= breakLength || !(total / max > 5 || longest <= 6)) return output;
    const biased = Math.max(max - 3 - Math.sqrt(max - total / output.length), 1);
    const columns = Math.min(Math.round(Math.sqrt(2.5 * biased * count) / biased), Math.floor((breakLength - ctx.indent) / max), compact * 4, 15);
    if (columns <= 1) return output;
    const lengths = [];
    for (let i = 0; i < columns; i++) {
      let n = 0;
      for (let j = i; j < count; j += columns) n = Math.max(n, widths[j]);
      lengths.push(n + 2);
    }
    const numbers = Array.prototype.every.call(value, (v) => typeof v === 'number' || typeof v === 'bigint');
    const out = [];
    for (let i = 0; i < count; i += columns) {
      const end = Math.min(i + columns, count);
      let line = '', j = i;
      for (; j < end - 1; j++) {
        const width = lengths[j - i] + output[j].length - widths[j];
        line += numbers ? `${output[j]}, `.padStart(width) : `${output[j]}, `.padEnd(width);
      }
      line += numbers ? output[j].padStart(lengths[j - i] + output[j].length - widths[j] - 2) : output[j];
      out.push(line);
    }
    if (count < output.length) out.push(output[count]);
    return out;
  };
  const keyText = (key) => typeof key === 'symbol' ? `[${String(key)}]` : identifier.test(key) ? key : quote(key);
  const property = (ctx, v, key, depth, bare) => {
    const d = Object.getOwnPropertyDescriptor(v, key) || { value: v[key] };
    let text;
    if (d.get) text = d.set ? '[Getter/Setter]' : '[Getter]';
    else if (d.set) text = '[Setter]';
    else text = nested(ctx, d.value, depth);
    return bare ? text : `${d.enumerable === false ? `[${String(key)}]` : keyText(key)}: ${text}`;
  };
  const nested = (ctx, v, depth) => {
    ctx.indent += 2;
    const text = show(ctx, v, depth);
    ctx.indent -= 2;
    return text;
  };
  const more = (n) => n > 0 ? [`... ${n} more item${n > 1 ? 's' : ''}`] : [];
  const items = (ctx, v, depth) => {
    const out = [];
    let i = 0;
    for (; i < v.length && out.length < maxItems; i++) {
      if (Object.hasOwn(v, i)) {
        out.push(property(ctx, v, String(i), depth, true));
        continue;
      }
      let n = 1;
      while (i + n < v.length && !Object.hasOwn(v, i + n)) n++;
      out.push(`<${n} empty item${n > 1 ? 's' : ''}>`);
      i += n - 1;
    }
    return out.concat(more(v.length - i));
  };
  const show = (ctx, v, depth) => {
    if ((typeof v !== 'object' && typeof v !== 'function') || v === null) return primitive(ctx, v);
    if (ctx.seen.includes(v)) {
      if (!ctx.circular.has(v)) ctx.circular.set(v, ctx.circular.size + 1);
      return `[Circular *${ctx.circular.get(v)}]`;
    }
    const name = constructorName(v);
    let tag = v[Symbol.toStringTag];
    if (typeof tag !== 'string' || Object.hasOwn(v, Symbol.toStringTag)) tag = '';
    let keys = Object.keys(v).concat(Object.getOwnPropertySymbols(v).filter((s) => Object.prototype.propertyIsEnumerable.call(v, s)));
    let base = '', open = '{', close = '}', list = () => [], array = false, empty = '';
    if (Array.isArray(v)) {
      keys = keys.filter((k) => typeof k === 'symbol' || !/^(0|[1-9]\d*)$/.test(k));
      open = `${name !== 'Array' || tag ? prefix(name, tag, 'Array', `(${v.length})`) : ''}[`;
      close = ']';
      array = true;
      if (v.length === 0 && keys.length === 0) return `${open}]`;
      list = () => items(ctx, v, depth);
    } else if (v instanceof typedArray) {
      keys = keys.filter((k) => typeof k === 'symbol' || !/^\d+$/.test(k));
      open = `${prefix(name, tag, tag, `(${v.length})`)}[`;
      close = ']';
      array = true;
      if (v.length === 0 && keys.length === 0) return `${open}]`;
      list = () => Array.from(v.subarray(0, maxItems), (n) => primitive(ctx, n)).concat(more(v.length - maxItems));
    } else if (v instanceof Set) {
      open = `${prefix(name, tag, 'Set', `(${v.size})`)}{`;
      if (v.size === 0 && keys.length === 0) return `${open}}`;
      list = () => Array.from(v).slice(0, maxItems).map((x) => nested(ctx, x, depth)).concat(more(v.size - maxItems));
    } else if (v instanceof Map) {
      open = `${prefix(name, tag, 'Map', `(${v.size})`)}{`;
      if (v.size === 0 && keys.length === 0) return `${open}}`;
      list = () => Array.from(v).slice(0, maxItems).map(([k, x]) => `${nested(ctx, k, depth)} => ${nested(ctx, x, depth)}`).concat(more(v.size - maxItems));
    } else if (typeof v === 'function') {
      base = functionBase(v, name, tag);
      if (keys.length === 0) return base;
    } else if (v instanceof RegExp || v instanceof Date || v instanceof Error) {
      if (v instanceof Error) {
        base = errorText(v);
        if (ctx.indent) base = base.replaceAll('\n', `\n${' '.repeat(ctx.indent)}`);
        for (const k of ['cause', 'errors']) if (Object.hasOwn(v, k) && !keys.includes(k)) keys.push(k);
      } else if (v instanceof Date) base = isNaN(v) ? 'Invalid Date' : Date.prototype.toISOString.call(v);
      else base = RegExp.prototype.toString.call(v);
      if (keys.length === 0) return base;
    } else if (v instanceof Number || v instanceof String || v instanceof Boolean || v instanceof BigInt || v instanceof Symbol) {
      if (v instanceof String) keys = keys.filter((k) => typeof k === 'symbol' || !/^\d+$/.test(k));
      base = `[${name}: ${primitive({ indent: 0 }, v.valueOf())}]`;
      if (keys.length === 0) return base;
    } else if (v instanceof ArrayBuffer || (typeof SharedArrayBuffer === 'function' && v instanceof SharedArrayBuffer)) {
      open = `${prefix(name, tag, 'ArrayBuffer')}{`;
      list = () => {
        const bytes = new Uint8Array(v);
        const hex = Array.from(bytes.subarray(0, 50), (b) => b.toString(16).padStart(2, '0')).join(' ');
        return [`[Uint8Contents]: <${hex}${bytes.length > 50 ? ` ... ${bytes.length - 50} more byte${bytes.length > 51 ? 's' : ''}` : ''}>`, `byteLength: ${v.byteLength}`];
      };
    } else if (v instanceof WeakMap || v instanceof WeakSet) {
      open = `${prefix(name, tag, 'Weak')}{`;
      list = () => ['<items unknown>'];
    } else {
      if (name !== 'Object' || tag) open = `${prefix(name, tag, 'Object')}{`;
      if (Object.prototype.toString.call(v) === '[object Arguments]') open = '[Arguments] {';
      if (keys.length === 0 && !(v instanceof Promise)) return `${open}}`;
      if (v instanceof Promise && keys.length === 0) list = () => ['<state unknown>'];
    }
    if (depth > ctx.max) return `[${array ? 'Array' : prefix(name, tag, 'Object').slice(0, -1)}]`;
    ctx.seen.push(v);
    ctx.depth = ++depth;
    const output = list();
    for (const k of keys) output.push(property(ctx, v, k, depth, false));
    ctx.seen.pop();
    let reference = '';
    if (ctx.circular.has(v)) {
      reference = `<ref *${ctx.circular.get(v)}> `;
      if (base) base = reference + base; else open = reference + open;
    }
    return reduce(ctx, output, base, open, close, array, depth, v);
  };
  const inspect = (v, max = maxDepth) => show({ seen: [], circular: new Map(), indent: 0, depth: 0, max }, v, 0);

  const number = (v, parse) => typeof v === 'bigint' ? `${v}n` : typeof v === 'symbol' ? 'NaN' : typeof v === 'object' && parse === Number ? 'NaN' : primitive({ indent: 0 }, parse(v));
  const directive = {
    s: (v) => typeof v === 'string' ? v : typeof v === 'object' && v !== null && (!Object.hasOwn(v, 'toString') && ['Object', 'Array', null].includes(constructorName(v)) || v instanceof Map || v instanceof Set) ? inspect(v, 0) :
      typeof v === 'bigint' || Object.is(v, -0) ? primitive({ indent: 0 }, v) : String(v),
    d: (v) => number(v, Number), i: (v) => number(v, parseInt), f: (v) => typeof v === 'symbol' ? 'NaN' : String(parseFloat(v)),
    j: (v) => { try { return JSON.stringify(v); } catch (e) { if (/circular/i.test(e.message)) return '[Circular]'; throw e; } },
    o: (v) => inspect(v, 4), O: (v) => inspect(v), c: () => '',
  };
  const format = (all) => {
    let out = '', i = 0;
    if (typeof all[0] === 'string') {
      i = 1;
      out = all.length === 1 ? all[0] : all[0].replace(/%([sdifjoOc%])/g, (text, d) => d === '%' ? '%' : i < all.length ? String(directive[d](all[i++])) : text);
    }
    for (; i < all.length; i++) out += (i ? ' ' : '') + (typeof all[i] === 'string' ? all[i] : inspect(all[i]));
    return out;
  };

  // ---- console ----
  let indent = '';
  const counts = new Map(), timers = new Map();
  const print = (stream, all) => {
    let text = format(all);
    if (indent) text = indent + text.replaceAll('\n', `\n${indent}`);
    host.write(stream, text + '\n');
  };
  const out = (...all) => print(1, all), err = (...all) => print(2, all);
  const elapsed = (label) => {
    const ms = Date.now() - timers.get(label);
    return `${label}: ${ms >= 1000 ? `${(ms / 1000).toFixed(3)}s` : `${ms}ms`}`;
  };
  const console = {
    log: out, info: out, debug: out, table: out, error: err, warn: err,
    dir: (v) => out(inspect(v)),
    trace: (...all) => err(`Trace${all.length ? ': ' + format(all) : ''}\n${frames(new Error().stack.split('\n').slice(1).join('\n'))}`),
    assert: (ok, ...all) => { if (!ok) err(...(typeof all[0] === 'string' ? [`Assertion failed: ${all[0]}`, ...all.slice(1)] : ['Assertion failed', ...all])); },
    group: (...all) => { if (all.length) out(...all); indent += '  '; },
    groupEnd: () => { indent = indent.slice(2); },
    count: (label = 'default') => { counts.set(label, (counts.get(label) || 0) + 1); out(`${label}: ${counts.get(label)}`); },
    countReset: (label = 'default') => { counts.delete(label); },
    time: (label = 'default') => { timers.set(label, Date.now()); },
    timeLog: (label = 'default', ...all) => { if (timers.has(label)) out(elapsed(label), ...all); },
    timeEnd: (label = 'default') => { if (timers.has(label)) { out(elapsed(label)); timers.delete(label); } },
  };

  // ---- process ----
  const exitCode = (v) => v === undefined || v === null ? 0 : Number.isInteger(Number(v)) ? Number(v) & 255 : 1;
  const process = {
    argv: host.argv, env: { ...host.env }, exitCode: undefined, argv0: 'javascript', title: 'downbeat', versions: {},
    exit: (code) => host.exit(exitCode(code === undefined ? process.exitCode : code)),
    stdout: { write: (s) => { host.write(1, String(s)); return true; }, isTTY: false },
    stderr: { write: (s) => { host.write(2, String(s)); return true; }, isTTY: false },
    get stdin() { throw missing('process.stdin', 'read the global string stdin'); },
    nextTick: (f, ...all) => { ticks.push(() => f(...all)); },
    on: () => process, once: () => process, off: () => process,
    cwd: () => { throw missing('process.cwd()', `there are no files; ${useNode}`); },
  };

  // ---- timers ----
  let last = 0, settled = 0;
  const waiting = new Map();
  const add = (f, delay, all, every) => {
    if (typeof f !== 'function') throw new TypeError(`The "callback" argument must be of type function. Received ${inspect(f)}`);
    delay = Math.max(Number(delay) || 0, 1);
    if (delay > 2147483647) delay = 1;
    waiting.set(++last, { f, all, at: Date.now() + delay, every: every ? delay : 0, id: last });
    return last;
  };
  const clear = (id) => { waiting.delete(Number(id)); };
  const ticks = [];
  // tick runs what process.nextTick was given; it returns how much that was.
  const tick = () => {
    let n = 0;
    for (; ticks.length > 0; n++) {
      try { ticks.shift()(); } catch (e) { fail(e); }
    }
    return n;
  };
  // turn runs one timer that is due; it returns for how many milliseconds there
  // is nothing to do: 0 when one ran, -1 when there is none.
  const turn = () => {
    let next = null;
    for (const t of waiting.values()) if (!next || t.at < next.at) next = t;
    if (!next) return -1;
    const now = Date.now();
    if (next.at > now) return next.at - now;
    waiting.delete(next.id);
    if (next.every) waiting.set(next.id, { ...next, at: now + next.every });
    try { next.f(...next.all); } catch (e) { fail(e); }
    return 0;
  };
  const queueMicrotask = (f) => {
    if (typeof f !== 'function') throw new TypeError(`The "callback" argument must be of type function. Received ${inspect(f)}`);
    Promise.resolve().then(() => { try { f(); } catch (e) { fail(e); } });
  };

  // ---- pieces of the web that need no world ----
  const clone = (v, seen) => {
    if (typeof v === 'function' || typeof v === 'symbol') throw new Error(`DataCloneError: ${String(v)} could not be cloned.`);
    if (typeof v !== 'object' || v === null) return v;
    if (seen.has(v)) return seen.get(v);
    const keep = (c) => { seen.set(v, c); return c; };
    if (v instanceof Date) return keep(new Date(v.getTime()));
    if (v instanceof RegExp) return keep(new RegExp(v.source, v.flags));
    if (v instanceof Boolean || v instanceof Number || v instanceof String || v instanceof BigInt) return keep(Object(v.valueOf()));
    if (v instanceof ArrayBuffer) return keep(v.slice(0));
    if (ArrayBuffer.isView(v)) {
      const b = clone(v.buffer, seen);
      return keep(new v.constructor(b, v.byteOffset, v instanceof DataView ? v.byteLength : v.length));
    }
    if (v instanceof Map) { const m = keep(new Map()); for (const [k, x] of v) m.set(clone(k, seen), clone(x, seen)); return m; }
    if (v instanceof Set) { const s = keep(new Set()); for (const x of v) s.add(clone(x, seen)); return s; }
    if (v instanceof WeakMap || v instanceof WeakSet || v instanceof WeakRef || v instanceof Promise) throw new Error(`DataCloneError: ${inspect(v)} could not be cloned.`);
    let c;
    if (v instanceof Error) {
      c = keep(new ({ EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError }[v.name] || Error)(v.message));
      for (const k of ['stack', 'cause']) if (Object.hasOwn(v, k)) Object.defineProperty(c, k, { value: clone(v[k], seen), writable: true, configurable: true });
      return c;
    }
    c = keep(Array.isArray(v) ? new Array(v.length) : {});
    for (const k of Object.keys(v)) c[k] = clone(v[k], seen);
    return c;
  };
  class TextEncoder {
    get encoding() { return 'utf-8'; }
    encode(s = '') {
      const bytes = [];
      for (const c of String(s).toWellFormed()) {
        const p = c.codePointAt(0);
        if (p < 0x80) bytes.push(p);
        else if (p < 0x800) bytes.push(0xc0 | p >> 6, 0x80 | p & 63);
        else if (p < 0x10000) bytes.push(0xe0 | p >> 12, 0x80 | p >> 6 & 63, 0x80 | p & 63);
        else bytes.push(0xf0 | p >> 18, 0x80 | p >> 12 & 63, 0x80 | p >> 6 & 63, 0x80 | p & 63);
      }
      return Uint8Array.from(bytes);
    }
  }
  class TextDecoder {
    #fatal; #bom;
    constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
      if (!/^\s*(unicode-1-1-)?utf-?8\s*$/i.test(label)) throw new RangeError(`The "${label}" encoding is not supported; there is utf-8 only`);
      this.#fatal = fatal;
      this.#bom = ignoreBOM;
    }
    get encoding() { return 'utf-8'; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#bom; }
    decode(data = new Uint8Array()) {
      const b = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
      const parts = [];
      for (let i = 0; i < b.length;) {
        const first = b[i++];
        if (first < 0x80) { parts.push(String.fromCharCode(first)); continue; }
        let need = first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : 0;
        let p = need === 1 ? first & 31 : need === 2 ? first & 15 : first & 7, bad = need === 0;
        let low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80, high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
        for (; need > 0 && !bad; need--) {
          if (!(b[i] >= low && b[i] <= high)) { bad = true; break; }
          p = p << 6 | b[i++] & 63;
          low = 0x80; high = 0xbf;
        }
        if (bad && this.#fatal) throw new TypeError('The encoded data was not valid for encoding utf-8');
        parts.push(bad ? '\ufffd' : String.fromCodePoint(p));
      }
      const text = parts.join('');
      return text[0] === '\ufeff' && !this.#bom ? text.slice(1) : text;
    }
  }
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const btoa = (s) => {
    s = String(s);
    let text = '';
    for (let i = 0; i < s.length; i += 3) {
      const c = [s.charCodeAt(i), s.charCodeAt(i + 1), s.charCodeAt(i + 2)];
      if (c.some((n) => n > 255)) throw new Error('InvalidCharacterError: Invalid character');
      text += letters[c[0] >> 2] + letters[(c[0] & 3) << 4 | c[1] >> 4] + (i + 1 < s.length ? letters[(c[1] & 15) << 2 | c[2] >> 6] : '=') + (i + 2 < s.length ? letters[c[2] & 63] : '=');
    }
    return text;
  };
  const atob = (s) => {
    s = String(s).replace(/[\t\n\f\r ]/g, '');
    if (s.length % 4 === 0) s = s.replace(/==?$/, '');
    if (s.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(s)) throw new Error('InvalidCharacterError: The string to be decoded is not correctly encoded.');
    let text = '', bits = 0, n = 0;
    for (const c of s) {
      n = (n << 6 | letters.indexOf(c)) & 0xffff;
      if ((bits += 6) >= 8) text += String.fromCharCode(n >> (bits -= 8) & 255);
    }
    return text;
  };

  // ---- how a script ends ----
  const absent = {
    Buffer: 'use Uint8Array, TextEncoder and atob', URL: useNode, URLSearchParams: useNode, crypto: useNode, AbortController: useNode, Intl: useNode,
    WebSocket: useNode, Worker: useNode, Deno: useNode, Bun: useNode, WebAssembly: useNode, performance: 'use Date.now()', XMLHttpRequest: 'use a task with call: http',
    window: 'scripts run without a browser', document: 'scripts run without a browser',
  };
  const fail = (e) => {
    let text, hint = '';
    try {
      if (e instanceof Error) {
        const where = typeof e.stack === 'string' ? frames(e.stack) : '';
        text = (where ? where + '\n' : '') + (e.cause !== undefined ? `[cause]: ${inspect(e.cause)}\n` : '') + `${e.name}: ${e.message}`;
        const name = e instanceof ReferenceError && /^'?(\w+)'? is not defined/.exec(e.message);
        if (name && absent[name[1]]) hint = `; ${missing(name[1], absent[name[1]]).message}`;
        if (e.message === 'out of memory') hint = `; the memory of a script is limited to ${host.memory} MiB`;
      } else {
        text = `Error: uncaught ${inspect(e)}`;
        if (e === null) hint = `; the script threw null, or the memory of a script (${host.memory} MiB) left no room for an error`;
      }
    } catch { text = 'Error: uncaught value that cannot be shown'; }
    host.write(2, text + hint + '\n');
    host.exit(1);
  };

  define(globalThis, {
    console, process, queueMicrotask, TextEncoder, TextDecoder, btoa, atob, global: globalThis,
    structuredClone: (v) => clone(v, new Map()),
    setTimeout: (f, delay, ...all) => add(f, delay, all, false), setInterval: (f, delay, ...all) => add(f, delay, all, true),
    setImmediate: (f, ...all) => add(f, 0, all, false),
    clearTimeout: clear, clearInterval: clear, clearImmediate: clear,
    fetch: () => { throw missing('fetch', 'let a task with call: http make the request and pass what it gave in arguments or stdin'); },
  });
  Object.defineProperty(globalThis, 'stdin', {
    configurable: true,
    get() { const value = host.stdin(); globalThis.stdin = value; return value; },
    set(value) { Object.defineProperty(globalThis, 'stdin', { value, writable: true, configurable: true }); },
  });
  const require = (name) => { throw missing(`require(${quote(String(name))})`, `no modules, files, network, processes; ${useNode}`); };
  return {
    turn, tick, fail,
    // run calls the script, before which some characters stand on its first line.
    run: (f, before) => {
      shift = before;
      const module = { exports: {} };
      try { f.call(module.exports, module.exports, require, module, host.file, '.'); } catch (e) { fail(e); }
    },
    // watch follows the promise of a module.
    watch: (promise) => { promise.then(() => { settled = 1; }, fail); },
    settled: () => settled,
    // raise reports a promise that was rejected while nobody looked.
    raise: () => { const reason = globalThis.__downbeat_reason; delete globalThis.__downbeat_reason; fail(reason); },
    code: () => exitCode(process.exitCode),
  };
})
