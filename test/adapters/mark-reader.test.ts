import { expect, it } from "vitest";
import { createMarkReader, memoryKind } from "../../src/adapters/shared/mark-reader.js";
import { formatMark, parseMark } from "../../src/engine/mark.js";
import { ANY_DEPLOYMENT } from "../lock/stage.js";

const AT = { origin: "here", nowMs: 1_000 };

function reader() {
  const memory = memoryKind(ANY_DEPLOYMENT, true);
  return createMarkReader({ name: "b", deployment: ANY_DEPLOYMENT, memory, markPlace: "the row" });
}

it("a mark that is missing, or of another memory, is to be written, each time with a name that nobody had", () => {
  const marks = reader();
  const [first, second] = [marks.read(undefined, AT), marks.read(undefined, AT)];
  expect([first.isThere, second.isThere]).toEqual([false, false]);
  expect(first.mark.incarnation).not.toBe(second.mark.incarnation);
  const elsewhere = marks.read(formatMark(first.mark), { ...AT, origin: "elsewhere" });
  expect(elsewhere.isThere).toBe(false);
  expect(elsewhere.mark.joined).toBe(true);
  expect(elsewhere.mark.incarnation).not.toContain(second.mark.incarnation.split(".").at(-1));
});

it("a mark of this memory is there, and names who answers by one object while nothing changes", () => {
  const marks = reader();
  const { mark } = marks.read(undefined, AT);
  const read = marks.read(formatMark(mark), AT);
  expect(read).toEqual({ mark: parseMark(formatMark(mark)), isThere: true });
  const identity = marks.identityOf(read.mark, "server");
  expect(identity).toEqual({ serverId: "server", incarnation: mark.incarnation });
  expect(marks.identityOf(mark, "server")).toBe(identity);
  expect(marks.identityOf(mark, "another")).toEqual({ ...identity, serverId: "another" });
});
