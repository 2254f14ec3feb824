/**
 * The answer to one of many operations that travel together: a promise to everybody who wants one, made when it is asked for, and
 * something lighter to whoever only wants to be told. A busy process has more of these than of anything else.
 */
import type { Listener, PromptAnswer } from "../../backend.js";

/** An answer that whoever made it gives once. */
export class Told<T> implements PromptAnswer<T>, Listener<T> {
  readonly [Symbol.toStringTag] = "Told";
  #listener: Listener<T> | undefined;
  /** Once somebody wants a promise, or the answer came before anybody listened. */
  #promise: Promise<T> | undefined;

  answered(answer: T): void {
    if (this.#listener === undefined) this.#promise = Promise.resolve(answer);
    else this.#listener.answered(answer);
  }

  failed(error: unknown): void {
    if (this.#listener === undefined) this.#promise = Promise.reject<T>(error);
    else this.#listener.failed(error);
  }

  /** Gives it when that comes. */
  follow(promise: Promise<T>): void {
    promise.then(
      (answer) => this.answered(answer),
      (error: unknown) => this.failed(error),
    );
  }

  tell(listener: Listener<T>): void {
    if (this.#promise === undefined && this.#listener === undefined) this.#listener = listener;
    else {
      void this.#asPromise().then(
        (answer) => listener.answered(answer),
        (error: unknown) => listener.failed(error),
      );
    }
  }

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
    const before = this.#listener;
    this.#promise ??= new Promise((resolve, reject) => {
      this.#listener = {
        answered(answer) {
          before?.answered(answer);
          resolve(answer);
        },
        failed(error) {
          before?.failed(error);
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      };
    });
    return this.#promise;
  }
}
