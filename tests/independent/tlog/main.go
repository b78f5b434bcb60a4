// tlog reads a Custodock log with the Go project's own packages and nothing of ours: it opens the checkpoint with
// sumdb/note, reads tiles through sumdb/tlog (which authenticates every tile against the checkpoint), and checks
// entries, inclusion and consistency with it.
//
//	tlog PREFIX VKEY TOKEN [OLD-CHECKPOINT-FILE [TLOG-PROOF-FILE ENTRY-FILE]...]
//
// PREFIX is the log's URL prefix, TOKEN a log reader's. Prints what was checked as JSON; exit 1 and a reason if anything
// does not fit.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type client struct{ prefix, token string }

func (c client) get(path string) ([]byte, error) {
	request, err := http.NewRequest("GET", c.prefix+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", path, response.Status)
	}
	return body, err
}

// Height, ReadTiles and SaveTiles make client a tlog.TileReader. Go's tile paths name the height, C2SP's do not.
func (c client) Height() int { return height }

func (c client) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range tiles {
		body, err := c.get(strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		read = append(read, body)
	}
	return read, nil
}

func (c client) SaveTiles([]tlog.Tile, [][]byte) {}

func open(text []byte, key string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// entries fetches the bundle that holds entry n in the tree and takes it apart.
func entries(c client, tree tlog.Tree, first int64) ([][]byte, error) {
	tile := tlog.Tile{H: height, L: 0, N: first >> height, W: 1 << height}
	if left := tree.N - first; left < 1<<height {
		tile.W = int(left)
	}
	path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
	raw, err := c.get(path)
	if err != nil {
		return nil, err
	}
	var found [][]byte
	for len(raw) > 0 {
		if len(raw) < 2 || len(raw) < 2+int(binary.BigEndian.Uint16(raw)) {
			return nil, fmt.Errorf("%s is cut", path)
		}
		end := 2 + int(binary.BigEndian.Uint16(raw))
		found, raw = append(found, raw[2:end]), raw[end:]
	}
	if len(found) != tile.W {
		return nil, fmt.Errorf("%s holds %d entries", path, len(found))
	}
	return found, nil
}

func checkEntries(c client, tree tlog.Tree, hashes tlog.HashReader) error {
	for first := int64(0); first < tree.N; first += 1 << height {
		bundle, err := entries(c, tree, first)
		if err != nil {
			return err
		}
		indexes := make([]int64, len(bundle))
		for i := range bundle {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		leaves, err := hashes.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, entry := range bundle {
			if tlog.RecordHash(entry) != leaves[i] {
				return fmt.Errorf("entry %d does not give its leaf", first+int64(i))
			}
		}
		n := first + int64(len(bundle)) - 1
		proof, err := tlog.ProveRecord(tree.N, n, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, leaves[len(leaves)-1]); err != nil {
			return err
		}
	}
	return nil
}

// checkProofFile checks a C2SP tlog-proof with its own checkpoint against the bytes of its entry.
func checkProofFile(proofFile, entryFile, key string) error {
	text, err := os.ReadFile(proofFile)
	if err != nil {
		return err
	}
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return err
	}
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		return errors.New("not a tlog-proof")
	}
	index, err := strconv.ParseInt(lines[1][len("index "):], 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize {
			return errors.New("not a hash in a tlog-proof")
		}
		proof = append(proof, tlog.Hash(*(*[tlog.HashSize]byte)(raw)))
	}
	tree, err := open([]byte(checkpoint), key)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func run(arguments []string) error {
	if len(arguments) < 3 {
		return errors.New("PREFIX VKEY TOKEN are needed")
	}
	c, key := client{arguments[0], arguments[2]}, arguments[1]
	text, err := c.get("checkpoint")
	if err != nil {
		return err
	}
	tree, err := open(text, key)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, c)
	if err := checkEntries(c, tree, hashes); err != nil {
		return err
	}
	old, proofs := int64(0), 0
	if len(arguments) > 3 {
		text, err := os.ReadFile(arguments[3])
		if err != nil {
			return err
		}
		before, err := open(text, key)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, before.N, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, before.N, before.Hash); err != nil {
			return err
		}
		old = before.N
	}
	for i := 4; i+1 < len(arguments); i += 2 {
		if err := checkProofFile(arguments[i], arguments[i+1], key); err != nil {
			return err
		}
		proofs++
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]int64{"size": tree.N, "old": old, "proofs": int64(proofs)})
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tlog:", err)
		os.Exit(1)
	}
}
