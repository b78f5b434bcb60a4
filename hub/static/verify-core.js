// The formats of custody/spec in the browser: rolling hash, envelope, key line, signed note, tlog-proof. No DOM here.
// Every function throws Fault(code, ...facts) for bytes that are not what the format says; nothing is believed before
// its signature was checked.

export const CHUNK_BYTES = 1 << 20;
const ENVELOPE = /^\{"payload":"([A-Za-z0-9+/]*={0,2})","payloadType":"([a-z0-9.+/-]{1,100})","signatures":\[\{"keyid":"([^"\\\x00-\x20\x7f]{1,700})","sig":"([A-Za-z0-9+/]{86}==)"\}\]\}$/;
const STATEMENT_TYPE = "application/vnd.in-toto+json";
const SEALED = "segment.sealed.v1";
const STATEMENT = "https://in-toto.io/Statement/v1";
export const MAX_ENVELOPE_BYTES = 60 * 1024;

export class Fault extends Error {
  constructor(code, ...facts) {
    super(code);
    this.code = code;
    this.facts = facts;
  }
}

export const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export const leafHash = (data) => sha256(joined([0], data));
const nodeHash = (left, right) => sha256(joined([1], left, right));

// Roots of the perfect subtrees over the leaves so far, the largest first: RFC 6962 in O(log n) memory.
export class CompactRange {
  constructor() {
    this.size = 0;
    this.roots = [];
  }

  async append(leaf) {
    let node = leaf;
    for (let index = this.size; index % 2 === 1; index = Math.floor(index / 2)) node = await nodeHash(this.roots.pop(), node);
    this.roots.push(node);
    this.size += 1;
  }

  async root() {
    if (!this.roots.length) return sha256(new Uint8Array());
    let node = this.roots.at(-1);
    for (const left of this.roots.slice(0, -1).reverse()) node = await nodeHash(left, node);
    return node;
  }
}

function fromBase64(text, code) {
  let raw;
  try {
    raw = atob(text);
  } catch {
    throw new Fault(code);
  }
  if (btoa(raw) !== text) throw new Fault(code);
  return Uint8Array.from(raw, (c) => c.charCodeAt(0));
}

const utf8 = new TextEncoder();

function text(bytes, code) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Fault(code);
  }
}

// A key line: name+hash+base64(type || public key). Ed25519 alone.
export async function parseKeyLine(line) {
  const [, name, hash, encoded] = /^([^\s+"\\]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(line.trim()) ?? [];
  if (!name) throw new Fault("bad_key");
  const raw = fromBase64(encoded, "bad_key");
  const id = (await sha256(joined(utf8.encode(`${name}\n`), raw))).slice(0, 4);
  if (raw[0] !== 1 || raw.length !== 33 || hex(id) !== hash) throw new Fault("bad_key");
  return { name, label: `${name}+${hash}`, id, raw: raw.slice(1) };
}

// Whether a key signed; throws "no_ed25519" in a browser that does not know Ed25519.
export async function signedBy(key, signature, message) {
  let imported;
  try {
    imported = await crypto.subtle.importKey("raw", key.raw, { name: "Ed25519" }, false, ["verify"]);
  } catch {
    throw new Fault("no_ed25519");
  }
  return crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message);
}

// A JSON text in which no object names a field twice: two readers could take different ones.
function parseUnique(json) {
  const value = JSON.parse(json);
  const names = [...json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter((found) => found[1]).length;
  let held = 0;
  for (const waiting = [value]; waiting.length;) {
    const next = waiting.pop();
    if (next === null || typeof next !== "object") continue;
    const inside = Object.values(next);
    if (!Array.isArray(next)) held += inside.length;
    for (const one of inside) waiting.push(one);
  }
  if (held !== names) throw new Fault("bad_envelope");
  return value;
}

// The seal in an envelope, and what is needed to check its signature.
export function parseSeal(raw) {
  const found = ENVELOPE.exec(text(raw, "bad_envelope"));
  if (!found || found[2] !== STATEMENT_TYPE) throw new Fault("bad_envelope");
  const payload = fromBase64(found[1], "bad_envelope");
  const head = utf8.encode(`DSSEv1 ${found[2].length} ${found[2]} ${payload.length} `);
  let seal, subject;
  try {
    const statement = parseUnique(text(payload, "bad_envelope"));
    seal = statement.predicate;
    [subject] = statement.subject;
    const types = statement._type === STATEMENT && statement.predicateType === `urn:custodock:event:${SEALED}`;
    if (!types || statement.subject.length !== 1 || seal.type !== SEALED) throw new Fault("bad_envelope");
  } catch {
    throw new Fault("bad_envelope");
  }
  const digests = [subject?.digest?.sha256, seal.tree_root];
  const whole = [seal.size_bytes, seal.chunk_count].every((n) => Number.isSafeInteger(n) && n >= 0);
  const fits = seal.chunk_bytes === CHUNK_BYTES && seal.chunk_count === Math.ceil(seal.size_bytes / CHUNK_BYTES);
  if (!whole || !fits || digests.some((d) => !/^[0-9a-f]{64}$/.test(d ?? ""))) throw new Fault("bad_envelope");
  return {
    path: String(subject.name),
    source: String(seal.source),
    camera: String(seal.camera_id),
    at: String(seal.at),
    sizeBytes: seal.size_bytes,
    sha256: subject.digest.sha256,
    treeRoot: seal.tree_root,
    chunkCount: seal.chunk_count,
    durationMs: Number.isSafeInteger(seal.media?.duration_ms) ? seal.media.duration_ms : null,
    keyLabel: found[3],
    signature: fromBase64(found[4], "bad_envelope"),
    message: joined(head, payload),
  };
}

// The checkpoint of a signed note and its signatures; nothing is verified yet.
function parseNote(note) {
  const at = note.lastIndexOf("\n\n");
  const lines = note.slice(0, at + 1).split("\n");
  const size = /^(0|[1-9][0-9]{0,15})$/.test(lines[1] ?? "") ? Number(lines[1]) : NaN;
  if (at < 0 || !note.endsWith("\n") || lines.length < 4 || !Number.isSafeInteger(size)) {
    throw new Fault("bad_proof_file");
  }
  const signatures = note.slice(at + 2, -1).split("\n").map((line) => {
    const [, name, encoded] = /^\u2014 (\S+) ([A-Za-z0-9+/=]+)$/.exec(line) ?? [];
    if (!name) throw new Fault("bad_proof_file");
    return { name, raw: fromBase64(encoded, "bad_proof_file") };
  });
  const body = note.slice(0, at + 1);
  return { origin: lines[0], size, root: fromBase64(lines[2], "bad_proof_file"), body, signatures };
}

// A C2SP tlog-proof.
export function parseProof(raw) {
  const all = text(raw, "bad_proof_file");
  const at = all.indexOf("\n\n");
  const lines = all.slice(0, at).split("\n");
  const index = /^index (0|[1-9][0-9]{0,15})$/.exec(lines[1] ?? "");
  if (at < 0 || lines[0] !== "c2sp.org/tlog-proof@v1" || !index) throw new Fault("bad_proof_file");
  const hashes = lines.slice(2).map((line) => fromBase64(line, "bad_proof_file"));
  if (hashes.length > 63 || hashes.some((h) => h.length !== 32)) throw new Fault("bad_proof_file");
  return { index: Number(index[1]), hashes, note: parseNote(all.slice(at + 2)) };
}

// RFC 9162 section 2.1.3.2: whether `leaf` is entry `index` of the checkpoint's tree.
export async function included(leaf, { index, hashes, note }) {
  if (index >= note.size) return false;
  let fn = index, sn = note.size - 1, node = leaf;
  for (const sibling of hashes) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      node = await nodeHash(sibling, node);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
    } else {
      node = await nodeHash(node, sibling);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && hex(node) === hex(note.root);
}

// Whether `key` signed the checkpoint in its own name.
export async function checkpointSignedBy(key, note) {
  if (note.origin !== key.name) return false;
  for (const { name, raw } of note.signatures) {
    if (name === key.name && hex(raw.slice(0, 4)) === hex(key.id)) {
      return signedBy(key, raw.slice(4), utf8.encode(note.body));
    }
  }
  return false;
}

// One pass over a file (or Blob): its root, and which chunks differ from `kept` leaves. Memory stays at a few chunks.
export async function readFile(file, kept, onProgress) {
  const tree = new CompactRange(), differing = [];
  const group = 8 * CHUNK_BYTES;
  for (let start = 0; start < file.size; start += group) {
    const part = new Uint8Array(await file.slice(start, start + group).arrayBuffer());
    const chunks = [];
    for (let at = 0; at < part.length; at += CHUNK_BYTES) chunks.push(part.subarray(at, at + CHUNK_BYTES));
    for (const leaf of await Promise.all(chunks.map(leafHash))) {
      const index = tree.size, other = kept?.subarray(32 * index, 32 * index + 32);
      if (kept && hex(other) !== hex(leaf)) {
        const last = differing.at(-1);
        if (last && last[1] === index - 1) last[1] = index;
        else differing.push([index, index]);
      }
      await tree.append(leaf);
    }
    onProgress(Math.min(start + group, file.size));
  }
  return { root: hex(await tree.root()), differing };
}

export async function rootOfLeaves(kept) {
  const tree = new CompactRange();
  for (let at = 0; at < kept.length; at += 32) await tree.append(kept.subarray(at, at + 32));
  return hex(await tree.root());
}

export { sha256 };
