/** What a parent has of a child process that answers each message with one. */

/** Sends a message and waits for the answer; rejects when the process ends instead. */
export function request(child, sent) {
  return new Promise((resolve, reject) => {
    const ended = (code) => reject(new Error(`a process of the benchmark ended with code ${code}`));
    child.once("exit", ended);
    child.once("message", (answer) => {
      child.off("exit", ended);
      resolve(answer);
    });
    child.send(sent);
  });
}
