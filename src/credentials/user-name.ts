/** When two names are the same user, and which names there may be. */

/** What a name is looked up by: compatibility forms and case do not tell users apart (RFC 8265 §3.3). */
export function nameKey (name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC')
}

/** Why a new name is refused; null for one that is fine. */
export function nameFault (name: string): string | null {
  if (name === '' || Buffer.byteLength(name) > 256) return 'a name has 1 to 256 bytes'
  if (name !== name.trim()) return 'a name does not begin or end with white space'
  // Control, format and filler characters look like nothing, and let two names look like one.
  if (/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Default_Ignorable_Code_Point}]/u.test(name)) return 'a name has no control or invisible characters'
  return null
}
