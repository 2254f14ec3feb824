/** What the tests of this folder share. */
import type { EtcdName } from "../servers/start-etcd.ts";

export const ETCDS: readonly EtcdName[] = ["etcd-3.4", "etcd-3.5"];
