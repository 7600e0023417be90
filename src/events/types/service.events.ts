import type { NewEvent } from '../event.js';
import type { Sealed } from '../sealed.js';

/** What a service's containers are made from: an image made on this machine from the distribution's packages (`packages`: its type's), or one of a registry. */
export interface ServiceImage { readonly source: 'packages' | 'registry'; readonly reference: string }

/** The container that serves. */
export interface ServiceContainer { readonly id: string; readonly name: string; readonly imageId: string; /** what the server says of itself, or its image */ readonly version: string }

/** Where the host listens for a service. */
export interface ExposedPort { readonly host: number; readonly container: number }

/** stream `service-<id>`; `secrets` are sealed with the service's own key */
export type ServiceEvent =
  | NewEvent<'ServiceCreated', { service: string; type: string; /** that brought the type; absent: one of ours */ plugin?: string; name: string; image: ServiceImage; settings: Record<string, string>; secrets: Record<string, Sealed> }>
  /** it was seen well in this container: the first one, or one that took the place of another */
  | NewEvent<'ServiceStarted', { service: string; image: ServiceImage; container: ServiceContainer }>
  /** it shall not run; `paused`: its container stays */
  | NewEvent<'ServiceStopped', { service: string; paused: boolean }>
  | NewEvent<'ServiceSettingChanged', { service: string; key: string; from: string | null; to: string | null }>
  | NewEvent<'ServiceLinked', { service: string; app: string; key: string; query: string | null }>
  | NewEvent<'ServiceUnlinked', { service: string; app: string; key: string }>
  | NewEvent<'ServiceExposed', { service: string; ports: ExposedPort[] }>
  | NewEvent<'ServiceUnexposed', { service: string }>
  /** `turn`: which of its type's users it is, 0 or 1; absent: 0. `keeps`: the login before is let in as well, until `ServiceLoginRetired` */
  | NewEvent<'ServiceRotated', { service: string; secrets: Record<string, Sealed>; turn?: number; keeps?: true }>
  /** nobody has the login of before any more, and it was seen to be refused */
  | NewEvent<'ServiceLoginRetired', { service: string }>
  | NewEvent<'ServiceImported', { service: string; bytes: number }>
  /** it is being destroyed: nothing can be linked any more */
  | NewEvent<'ServiceDoomed', { service: string }>
  /** its last dump could not be taken: it stays */
  | NewEvent<'ServiceSpared', { service: string }>
  /** `dump`: file of the last dump on the server, null for none */
  | NewEvent<'ServiceDestroyed', { service: string; type: string; name: string; dump: string | null }>;

/** stream `links-<app id>`: services that the app's containers can reach */
export type LinkEvent = NewEvent<'AppLinked', { app: string; service: string; key: string }> | NewEvent<'AppUnlinked', { app: string; service: string; key: string }>;

export const SERVICE_EVENTS: readonly (ServiceEvent | LinkEvent)['type'][] = ['ServiceCreated', 'ServiceStarted', 'ServiceStopped', 'ServiceSettingChanged', 'ServiceLinked', 'ServiceUnlinked', 'ServiceExposed', 'ServiceUnexposed', 'ServiceRotated', 'ServiceLoginRetired', 'ServiceImported', 'ServiceDoomed', 'ServiceSpared', 'ServiceDestroyed', 'AppLinked', 'AppUnlinked'];
