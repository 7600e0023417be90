/** A secret as it may stand in an event: AES-256-GCM under the key named `k`; all parts base64. */
export interface Sealed {
  readonly k: string;
  readonly iv: string;
  readonly ct: string;
  readonly tag: string;
}
