/** A program in the service's container. No secret in `argv`: it goes in by `stdin` or `env`. */
export interface ServiceExec {
  readonly argv: readonly string[];
  readonly user?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

/** What somebody logs in with; `user` is empty for a type without users. */
export interface ServiceLogin { readonly user: string; readonly password: string }

/** Whose and where; `host`: its name in its network. */
export interface ServiceAccess extends ServiceLogin {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** the name where only letters, digits and underscores will do */
  readonly database: string;
  /** the type's first user: whoever logs in, things belong to this one */
  readonly owner: string;
  /** the login of before, where that is to be let in as well; null: it is not */
  readonly former: ServiceLogin | null;
}

/** How a type's server runs in one kind of image. Both kinds have the same data at the same place in the volume, so that a service may change over. */
interface ServerImage {
  /** where the container has its volume; null: it keeps nothing */
  readonly volume: string | null;
  env(access: ServiceAccess): Readonly<Record<string, string>>;
  /** words for the image's own entry point; null: its own */
  command(access: ServiceAccess): readonly string[] | null;
  /** the same for a throw-away server that a backup is tried in: nothing of it has to outlive a crash; absent: the same words */
  readonly trial?: readonly string[];
}

/** An image of a registry, run as it wants to be run. */
export interface RegistryImage extends ServerImage {
  /** what is pulled when nobody says another: `postgres:17` */
  readonly reference: string;
}

/** A program that the distribution has no package of: compiled when the image is made, in a stage of its own, of a Go module in one version. */
export interface GoProgram {
  /** `github.com/versity/versitygw` */
  readonly module: string;
  /** `v1.8.0` */
  readonly version: string;
  /** the module's checksum as go.sum has it, `h1:…`; its own go.sum then fixes what it stands on */
  readonly sum: string;
  /** where in the module it is: `./cmd/versitygw` */
  readonly path: string;
  /** the variable of its source that has the version: `main.Version` */
  readonly says: string;
}

/** An image made of the distribution's packages. */
export interface PackagedImage extends ServerImage {
  /** lies in `/usr/local/bin`, called like the last part of its path */
  readonly program?: GoProgram;
  readonly packages: readonly string[];
  /** files that must be there before the packages come: path → text without quotes */
  readonly before?: Readonly<Record<string, string>>;
  /** lines of the Dockerfile behind the packages' */
  readonly lines: readonly string[];
  /** `/usr/local/bin/berth-service`: makes ready what the volume lacks and becomes the server. POSIX sh */
  readonly script: string;
  /** what whoever makes one should know: it is not quite what the title says */
  readonly remark?: string;
}

/** How its data goes out and comes in, as a stream. */
export interface ServiceDumps {
  /** ending of a dump's file: `dump`, `rdb` */
  readonly suffix: string;
  out(access: ServiceAccess): ServiceExec;
  /** all of it, or nothing: where that fails the old data is still there */
  in(access: ServiceAccess): ServiceExec;
  /** prints lines `<what> <how many>`, by which a backup that was brought back is compared: the same for the same data, nothing that goes by itself */
  count(access: ServiceAccess): ServiceExec;
  /** why what begins like this is no dump of this type; null: it may be one. At least 16 bytes, unless the dump is shorter */
  refuse(head: Buffer): string | null;
}

/** Another login is let in beside the one that apps have, which is shut out when none of them has it any more. */
export interface RotationBeside {
  readonly how: 'beside';
  /** a second user, that takes turns with the first; absent: the one user may have two passwords */
  second?(name: string): string;
  /** lets the access in as well as its `former`, which has been let in until now; any number of times. Both outlive a restart of the container; one that cannot do that ends it with 78, and says why */
  admit(access: ServiceAccess): readonly ServiceExec[];
  /**
   * Shuts the login out, and closes what connections it has; the access stays. Any number of times.
   * @param atOnce apps have it still, and it is in the wrong hands: where connections cannot be told apart, all are closed
   */
  retire(access: ServiceAccess, login: ServiceLogin, atOnce: boolean): readonly ServiceExec[];
  /** ends with 0 when the login is let in the way an app's is */
  login(access: ServiceAccess, login: ServiceLogin): ServiceExec;
}

/** The server knows one password at a time: until an app has the new one, it is refused. */
export interface RotationInstead {
  readonly how: 'instead';
  /** gives the running server this access' password, any number of times, in the place of the one `before`; null: it gets it by a new container */
  change(access: ServiceAccess, before: ServiceAccess): readonly ServiceExec[] | null;
}

/** A type of service: what differs from one to the next, as data. All of it pure. */
export interface ServiceType {
  /** the plugin that brought it; absent: one of ours */
  readonly plugin?: string;
  /** first part of its commands' names */
  readonly type: string;
  /** other spellings of it */
  readonly aliases: readonly string[];
  /** for people */
  readonly title: string;
  /** what the stack has, `17`; major versions can read one another's data only when they are the same */
  readonly version: string;
  readonly packaged: PackagedImage | null;
  /** what is pulled when there are no packages, or by wish */
  readonly registry: RegistryImage;
  readonly port: number;
  /** further ports that it listens on */
  readonly ports: readonly number[];
  /** seconds that it may take to stop in good order */
  readonly stopSeconds: number;
  /** config var that an app gets: `DATABASE_URL` */
  readonly variable: string;
  /** what apps log in as, at first; empty for a type without users */
  user(name: string): string;
  dsn(access: ServiceAccess): string;
  /** ends with 0 when it answers by TCP */
  health(access: ServiceAccess): ServiceExec;
  /** further names of it in its network; none unless said */
  hosts?(access: ServiceAccess): readonly string[];
  /** once it answers: users, databases; may be run any number of times */
  setup(access: ServiceAccess): readonly ServiceExec[];
  /** null: whoever reaches it needs no password */
  readonly rotation: RotationBeside | RotationInstead | null;
  /** prints the server's version, the first thing in it that looks like one; a program that fails tells nothing */
  readonly tellVersion: ServiceExec;
  /** the client, for what is piped in */
  connect(access: ServiceAccess, words: readonly string[]): ServiceExec;
  /** null: none, for the reason in `noDumps` */
  readonly dumps: ServiceDumps | null;
  /** why there is nothing to export: `it keeps nothing` */
  readonly noDumps?: string;
}
