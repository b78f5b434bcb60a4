// Verifies one file beside the page, so that the page stays awake. Takes {footage, seal, leaves, proof, stationKey,
// logKey}, answers {progress}, then {results: [{code, good, facts}]}. good: true proved, false wrong, null not proved.

import {
  CHUNK_BYTES, Fault, MAX_ENVELOPE_BYTES, checkpointSignedBy, hex, included, leafHash, parseKeyLine, parseProof, parseSeal, readFile,
  rootOfLeaves, sha256, signedBy,
} from "./verify-core.js";

const WHOLE_FILE_BYTES = 64 * CHUNK_BYTES; // WebCrypto hashes a whole file only in one piece; the tree proves it as well
const MAX_SMALL_BYTES = 1 << 20;

async function small(file, code, limit = MAX_SMALL_BYTES) {
  if (file.size > limit) throw new Fault(code);
  return new Uint8Array(await file.arrayBuffer());
}

function seconds(seal, first, last) {
  if (!seal.durationMs) return null;
  const scale = seal.durationMs / 1000 / seal.sizeBytes;
  const end = Math.min((last + 1) * CHUNK_BYTES, seal.sizeBytes);
  return [first * CHUNK_BYTES * scale, end * scale].map((s) => s.toFixed(1));
}

async function footage(seal, file, leavesFile, say) {
  let kept = null;
  if (leavesFile) {
    const whole = leavesFile.size === 32 * seal.chunkCount;
    kept = whole ? new Uint8Array(await leavesFile.arrayBuffer()) : null;
    if (!whole || (await rootOfLeaves(kept)) !== seal.treeRoot) {
      kept = null;
      say("leaves_wrong", false);
    }
  }
  const read = await readFile(file, kept, (done) => postMessage({ progress: done / Math.max(file.size, 1) }));
  if (file.size !== seal.sizeBytes) say("size_differs", false, file.size, seal.sizeBytes);
  if (read.root === seal.treeRoot && file.size === seal.sizeBytes) {
    say("as_sealed", true, seal.path);
    if (file.size <= WHOLE_FILE_BYTES && hex(await sha256(await file.arrayBuffer())) !== seal.sha256) say("seal_contradicts", false);
    return;
  }
  if (file.size === seal.sizeBytes) say("altered", false);
  const single = seal.chunkCount === 1 && file.size === seal.sizeBytes ? [[0, 0]] : [];
  for (const [first, last] of kept ? read.differing : single) {
    const span = seconds(seal, first, last);
    if (span) say("chunks_seconds", false, first, last, seal.chunkCount, ...span);
    else say("chunks", false, first, last, seal.chunkCount);
  }
  if (!kept && !single.length) say("chunks_unknown", null);
}

async function signature(seal, line, say) {
  if (!line) return say("no_station_key", null, seal.keyLabel);
  const key = await parseKeyLine(line);
  const good = key.label === seal.keyLabel && key.name === seal.source && (await signedBy(key, seal.signature, seal.message));
  return good ? say("signed", true, key.label) : say("not_signed", false, key.label, seal.keyLabel);
}

async function logged(raw, proofFile, line, say) {
  if (!proofFile) return say("no_proof", null);
  const proof = parseProof(await small(proofFile, "bad_proof_file"));
  if (!(await included(await leafHash(raw), proof))) return say("not_included", false);
  if (!line) return say("no_log_key", null, proof.note.origin);
  const key = await parseKeyLine(line);
  if (!(await checkpointSignedBy(key, proof.note))) return say("checkpoint_not_signed", false, key.label);
  return say("logged", true, proof.index, proof.note.origin, proof.note.size);
}

async function attempt(step, say) {
  try {
    await step();
  } catch (error) {
    if (!(error instanceof Fault)) return say("failed", false, String(error));
    say(error.code, error.code === "no_ed25519" ? null : false, ...error.facts);
  }
}

onmessage = async ({ data }) => {
  const results = [];
  const say = (code, good, ...facts) => void results.push({ code, good, facts });
  await attempt(async () => {
    const raw = await small(data.seal, "bad_envelope", MAX_ENVELOPE_BYTES);
    const seal = parseSeal(raw);
    await attempt(() => footage(seal, data.footage, data.leaves, say), say);
    await attempt(() => signature(seal, data.stationKey, say), say);
    await attempt(() => logged(raw, data.proof, data.logKey, say), say);
  }, say);
  postMessage({ results });
};
