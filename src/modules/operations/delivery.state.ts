/** Groups of operations that hand somebody what happened. */
const DELIVERING = ['plugin', 'webhook', 'notify'] as const;
export const deliveryGroup = (to: (typeof DELIVERING)[number], name: string): string => `${to}-${name}`;
/** What deliveries lead to is nobody's business: there would be no end to it. */
export const isDelivering = (group: string): boolean => DELIVERING.some((to) => group.startsWith(deliveryGroup(to, '')));

/** What a delivery is asked for with, whatever else it is given; null: it is of no event (a test). */
export interface OfEvent { readonly position: number | null }
