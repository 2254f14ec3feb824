export interface Survivor {
  /** From the root of the project. */
  readonly file: string;
  /** The top-level declaration that it is in. */
  readonly in: string;
  /** The lines that it touches, as one. */
  readonly before: string;
  readonly after: string;
}

export interface Counts {
  readonly killed: number;
  readonly timeout: number;
  readonly survived: number;
  readonly noCoverage: number;
}

/** The part of Stryker's report that is read. */
export interface Report {
  readonly files: Readonly<
    Record<
      string,
      {
        readonly source: string;
        readonly mutants: readonly {
          readonly status: string;
          readonly replacement: string;
          readonly location: { readonly start: Place; readonly end: Place };
        }[];
      }
    >
  >;
}

interface Place {
  readonly line: number;
  readonly column: number;
}

export function summarize(report: Report): {
  readonly files: Readonly<Record<string, Counts>>;
  readonly survivors: readonly Survivor[];
};
export function oneLine(text: string): string;
export function nameOf(survivor: Survivor): string;
export function compare(
  survivors: readonly Survivor[],
  reasons: readonly Survivor[],
): { readonly unexplained: readonly string[]; readonly superfluous: readonly string[] };
