/**
 * The answer to one of many operations that travel together: a promise to everybody who wants one, made when it is asked for, and
 * something lighter to whoever only wants to be told. A busy process has more of these than of anything else.
 */
import type { Listener, PromptAnswer } from "../../backend.js";

/** An answer that whoever made it gives once. */
export class Told<T> implements PromptAnswer<T>, Listener<T> {
  #listener: Listener<T> | undefined;
  /** What it came to, for those who want to know later. */
  #settled: "answered" | "failed" | undefined;
  #outcome: unknown;
  #promise: Promise<T> | undefined;

  get [Symbol.toStringTag](): string {
    return "Told";
  }

  answered(answer: T): void {
    this.#settled = "answered";
    this.#outcome = answer;
    try {
      this.#listener?.answered(answer);
    } catch (fault) {
      elsewhere(fault);
    }
  }

  failed(error: unknown): void {
    this.#settled = "failed";
    this.#outcome = error;
    try {
      this.#listener?.failed(error);
    } catch (fault) {
      elsewhere(fault);
    }
  }

  /** Gives it when that comes. */
  follow(promise: Promise<T>): void {
    promise.then(
      (answer) => this.answered(answer),
      (error: unknown) => this.failed(error),
    );
  }

  tell(listener: Listener<T>): void {
    if (this.#settled === undefined && this.#listener === undefined) this.#listener = listener;
    else {
      this.#asPromise().then(
        (answer) => listener.answered(answer),
        (error: unknown) => listener.failed(error),
      );
    }
  }

  // oxlint-disable-next-line unicorn/no-thenable -- it is a promise
  then<A = T, B = never>(
    onAnswer?: ((answer: T) => A | PromiseLike<A>) | null,
    onFault?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#asPromise().then(onAnswer, onFault);
  }

  catch<B = never>(onFault?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<T | B> {
    return this.#asPromise().catch(onFault);
  }

  finally(onSettled?: (() => void) | null): Promise<T> {
    return this.#asPromise().finally(onSettled);
  }

  #asPromise(): Promise<T> {
    this.#promise ??= new Promise((answered, failed) => {
      const first = this.#listener;
      if (this.#settled === "answered") answered(this.#outcome as T);
      else if (this.#settled === "failed") failed(this.#outcome);
      else {
        this.#listener = {
          answered(answer): void {
            answered(answer);
            first?.answered(answer);
          },
          failed(error): void {
            failed(error);
            first?.failed(error);
          },
        };
      }
    });
    return this.#promise;
  }
}

/** What a listener throws must not keep others from being told; it is an unhandled rejection, as with any promise. */
function elsewhere(fault: unknown): void {
  void Promise.resolve().then(() => {
    throw fault;
  });
}
